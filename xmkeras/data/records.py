"""Records of CSV, JSON-lines and JSON files with the line each stands on."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from xmkeras.errors import UserError

_DELIMITERS = ",;\t"


class Record(NamedTuple):
    """One record: the line (of a JSON array: the item) it stands on, from 1, and its fields."""

    line: int
    fields: dict[str, Any]


def read_records(path: str) -> Iterator[Record]:
    """Reads CSV with a header (comma, semicolon or tab), JSON lines, or a JSON array of objects.

    Raises:
        UserError: the file is missing, unreadable, empty or malformed; the message names the line.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            start = file.read(4096).lstrip()
            if not start:
                raise UserError(f"The file {path} is empty; expected a CSV header or JSON lines.")
            file.seek(0)
            yield from _reader(path, start)(path, file)
    except UnicodeDecodeError as error:
        raise UserError(f"The file {path} is not UTF-8 text ({error.reason}); save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error


def _reader(path: str, start: str) -> Any:
    if start[0] == "[":
        return _json_array
    return (
        _json_lines
        if start[0] == "{" or os.path.splitext(path)[1].lower().startswith((".json", ".nd"))
        else _csv
    )


def _csv(path: str, file: IO[str]) -> Iterator[Record]:
    csv.field_size_limit(2**24)
    header = file.readline()
    file.seek(0)
    reader = csv.DictReader(file, delimiter=max(_DELIMITERS, key=header.count))
    line = 1
    try:
        for row in reader:
            line = reader.line_num
            if None in row or None in row.values():
                count = len(reader.fieldnames or ())
                raise UserError(
                    f"{path} line {line}: another number of fields than the {count} of the header."
                )
            yield Record(line, {str(name).strip(): value for name, value in row.items()})
    except csv.Error as error:
        raise UserError(f"{path} line {line + 1}: not valid CSV ({error}).") from error


def _json_lines(path: str, file: IO[str]) -> Iterator[Record]:
    for line, text in enumerate(file, start=1):
        if text.strip():
            try:
                fields = json.loads(text)
            except json.JSONDecodeError as error:
                raise UserError(
                    f"{path} line {line}: not valid JSON ({error.msg}, column {error.colno})."
                ) from error
            yield Record(line, _checked_object(fields, f"{path} line {line}"))


def _json_array(path: str, file: IO[str]) -> Iterator[Record]:
    try:
        items = json.load(file)
    except json.JSONDecodeError as error:
        raise UserError(f"{path} line {error.lineno}: not valid JSON ({error.msg}).") from error
    for number, item in enumerate(items, start=1):
        yield Record(number, _checked_object(item, f"{path} item {number}"))


def _checked_object(fields: Any, place: str) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise UserError(f'{place}: expected an object such as {{"image": "a.jpg", "captions": ["..."]}}.')
    return fields
