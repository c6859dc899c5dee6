"""Records of CSV, JSON-lines and JSON files with the line each stands on."""

from __future__ import annotations

import csv
import itertools
import json
import os
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from xmkeras.errors import UserError, refuse

_DELIMITERS = ",;\t"


Fault = Callable[[str], None]


class Record(NamedTuple):
    """One record: the line (of a JSON array: the item) it stands on, from 1, and its fields."""

    line: int
    fields: dict[str, Any]


def read_records(path: str, fault: Fault = refuse) -> Iterator[Record]:
    """Reads CSV with a header (comma, semicolon or tab), JSON lines, or a JSON array of objects.

    Args:
        path: of the file.
        fault: is told of each record that is malformed, with its line, and leaves it out unless it raises.

    Raises:
        UserError: the file is missing, unreadable or empty; by default also where it is malformed.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"Cannot read {path}: it is no regular file.")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            start = file.read(4096).lstrip()
            if not start:
                raise UserError(f"The file {path} is empty; expected a CSV header or JSON lines.")
            file.seek(0)
            yield from _reader(path, start)(path, file, fault)
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


def _csv(path: str, file: IO[str], fault: Fault) -> Iterator[Record]:
    csv.field_size_limit(2**24)
    header = file.readline()
    delimiter = max(_DELIMITERS, key=header.count)
    done = 0  # lines before the next record
    names: list[str] = []
    reader = _csv_from(file, done, delimiter)
    while True:
        first = done + reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            fault(f"{path} line {first}: a quote in this record is neither closed nor doubled ({error}).")
            # Where the quote should have ended nobody knows: all lines behind this one are read afresh.
            done, reader = first, _csv_from(file, first, delimiter)
            continue
        if values is None:
            return
        line = done + reader.line_num
        if not names:
            names = [name.strip() for name in values]
        elif values and len(values) != len(names):
            fault(f"{path} line {line}: another number of fields than the {len(names)} of the header.")
        elif values:
            yield Record(line, dict(zip(names, values, strict=True)))


def _csv_from(file: IO[str], line: int, delimiter: str) -> Any:
    """A reader of what comes after so many lines; a quote that is not closed is an error, not a field to the end."""
    file.seek(0)
    return csv.reader(itertools.islice(file, line, None), delimiter=delimiter, strict=True)


def _json_lines(path: str, file: IO[str], fault: Fault) -> Iterator[Record]:
    for line, text in enumerate(file, start=1):
        if text.strip():
            try:
                fields = json.loads(text)
            except json.JSONDecodeError as error:
                fault(f"{path} line {line}: not valid JSON ({error.msg}, column {error.colno}).")
                continue
            yield from _object(line, fields, f"{path} line {line}", fault)


def _json_array(path: str, file: IO[str], fault: Fault) -> Iterator[Record]:
    try:
        items = json.load(file)
    except json.JSONDecodeError as error:
        raise UserError(f"{path} line {error.lineno}: not valid JSON ({error.msg}).") from error
    for number, item in enumerate(items, start=1):
        yield from _object(number, item, f"{path} item {number}", fault)


def _object(line: int, fields: Any, place: str, fault: Fault) -> Iterator[Record]:
    if isinstance(fields, dict):
        yield Record(line, fields)
    else:
        fault(f'{place}: expected an object such as {{"image": "a.jpg", "captions": ["..."]}}.')
