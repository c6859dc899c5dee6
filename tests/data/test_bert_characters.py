"""The table of characters; `test_wordpiece.py` compares every one of them with the published tokenizer."""

from __future__ import annotations

import numpy as np
import pytest

from xmkeras.data.bert_characters import (
    ALONE,
    CODES,
    DROPPED,
    EXPANDED,
    ISOLATED,
    NOTHING,
    PAGE,
    SPACE,
    character_table,
)


def kind_of(character: str, **options) -> str | int:
    """What becomes of a character: its kind, or the text it expands to, with | before characters that stand alone."""
    table = character_table(**options)
    code = ord(character)
    kind = int(table.kinds[table.pages[code // PAGE] * PAGE + code % PAGE])
    if kind < EXPANDED:
        return kind
    codes = [int(value) for value in table.expansions[kind - EXPANDED] if value != NOTHING]
    return "".join(("|" if value & ISOLATED else "") + chr(value % ISOLATED) for value in codes)


@pytest.mark.parametrize(
    ("character", "expected"),
    [
        ("a", 0),
        ("A", "a"),
        ("É", "e"),
        ("\u0301", ""),
        ("İ", "i"),
        ("Σ", "\u03c3"),
        ("각", "\u1100\u1161\u11a8"),
        ("你", ALONE),
        ("\uf900", "|\u8c48"),
        ("\u037e", "|;"),
        ("!", ALONE),
        ("\t", SPACE),
        ("\u3000", SPACE),
        ("\x00", DROPPED),
        ("\u200b", DROPPED),
        ("\ue000", DROPPED),
        ("\U0010ffff", 0),
    ],
)
def test_what_becomes_of_a_character(character, expected):
    assert kind_of(character) == expected


def test_case_and_accents_are_options():
    assert kind_of("É", lower_case=False) == "E"
    assert kind_of("É", strip_accents=False) == "é"
    assert kind_of("É", lower_case=False, strip_accents=False) == 0


def test_every_code_point_has_a_place():
    table = character_table()
    assert table.pages.shape == (CODES // PAGE,)
    assert table.pages.max() * PAGE + PAGE == len(table.kinds)
    assert table.kinds.max() - EXPANDED < len(table.expansions)
    assert np.all(table.expansions[:, 1:][table.expansions[:, :2] == NOTHING] == NOTHING)
