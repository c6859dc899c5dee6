"""Arguments of a command line with its flagfiles in place, each with where it stands."""

from __future__ import annotations

import itertools
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import xmkeras
from xmkeras.errors import UserError

COMMAND_LINE = "the command line"


class Argument(NamedTuple):
    """One word of a command line, or one line of a flagfile."""

    text: str
    origin: str  # the command line, or file and line

    @property
    def name(self) -> str:
        """The flag's name, "" for a word that is a value."""
        return self.text.lstrip("-").partition("=")[0] if self.text.startswith("-") else ""


def expand(argv: Sequence[str]) -> list[Argument]:
    """Replaces every `--flagfile=PATH` or `--flagfile PATH` by the lines of its file.

    A path is relative to the including file, to the working folder, or to the folder of the shipped flagfiles.

    Raises:
        UserError: a flagfile is missing or includes itself, or a line is no flag.
    """
    return list(_expand([Argument(text, COMMAND_LINE) for text in argv], pathlib.Path.cwd(), ()))


def last_value(arguments: Sequence[Argument], name: str) -> str:
    """The last value of a flag, of `--name=value` or `--name value`; "" where it is not given."""
    value = ""
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=Argument("", "")):
        if argument.name == name:
            _, equals, tail = argument.text.partition("=")
            value = tail if equals else following.text
    return value


def stem(argv: Sequence[str]) -> str:
    """The name of the last flagfile of a command line, without folder and ending; "" for none."""
    return pathlib.Path(last_value([Argument(text, COMMAND_LINE) for text in argv], "flagfile")).stem


def _expand(
    arguments: Sequence[Argument], base: pathlib.Path, including: tuple[pathlib.Path, ...]
) -> Iterator[Argument]:
    pending = iter(arguments)
    for argument in pending:
        if argument.name != "flagfile":
            yield argument
            continue
        _, equals, value = argument.text.partition("=")
        path = _find(value if equals else next(pending, Argument("", "")).text, base, argument.origin)
        if path in including:
            raise UserError(f"The flagfile {path.name} includes itself ({argument.origin}); remove one of the two.")
        yield from _expand(list(_read(path)), path.parent, (*including, path))


def _find(value: str, base: pathlib.Path, origin: str) -> pathlib.Path:
    for candidate in (base / value, pathlib.Path.cwd() / value, *(root / value for root in _packaged_roots())):
        if value and candidate.is_file():
            return candidate.resolve()
    raise UserError(f"There is no flagfile {value!r} (named by {origin}); the shipped ones are: {_shipped()}.")


def _packaged_roots() -> list[pathlib.Path]:
    """Folders in which a relative `flags/...` path is found: the checkout, or the installed package's data."""
    package = pathlib.Path(xmkeras.__file__).parent
    return [package.parent, package, pathlib.Path(sys.prefix) / "share" / "xmkeras"]


def _shipped() -> str:
    for root in _packaged_roots():
        names = sorted(f"flags/{path.name}" for path in (root / "flags").glob("*.cfg"))
        if names:
            return ", ".join(names)
    return "none"


def _read(path: pathlib.Path) -> Iterator[Argument]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The flagfile {path} cannot be read: {error}.") from error
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith(("#", "//")):
            continue
        if not text.startswith("-"):
            raise UserError(f"{path}, line {number}: {text!r} is not a flag; write --name=value, one a line.")
        yield Argument(text, f"{path}, line {number}")
