"""Your own pairs: any CSV or JSON-lines file with an image path and captions."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from xmkeras.data.records import Record, read_records
from xmkeras.data.rows import LabelKind, Row, RowTable
from xmkeras.data.splits import hash_split, split_name
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

_USUAL = {
    "image": (
        "image",
        "image_path",
        "img",
        "img_path",
        "file_path",
        "filepath",
        "file_name",
        "filename",
        "file",
        "path",
    ),
    "caption": ("captions", "caption", "sentences", "sentence", "text", "description", "title"),
    "label": ("label", "class", "class_id", "class_name", "identity", "person_id", "pid"),
    "id": ("image_id", "img_id", "id"),
    "split": ("split", "subset", "partition", "set"),
    "category": ("category", "group", "supercategory"),
}
_NUMBERED = re.compile(r"(caption|sentence|text|description)s?[ _-]?\d+")
_IDENTITY = ("identity", "person_id", "pid", "id")


Columns = dict[str, list[str]]


@dataclasses.dataclass
class _Entry:
    """What the records of one image say together; `line` is that of the first."""

    line: int
    image: str
    image_id: str
    captions: list[str]
    label: str
    split: str
    category: str


def load(options: SourceOptions) -> RowTable:
    """Reads `options.table`; records that share an image are merged into one row with all their captions.

    Columns are found by their usual names unless the options name them. Without a label column every image
    is its own label. Without a split column, or where it is empty throughout, rows are split by a hash of the
    seed and the image id, or of the seed and the label with `identity_disjoint`.

    Raises:
        UserError: the file, a column, an image or a value is missing or wrong; the message names the line.
    """
    path = options.table
    if not path:
        raise UserError(
            "The source table needs a file: give --table=FILE.csv (or .jsonl) with images and captions."
        )
    columns, entries = _read(path, options)
    if not entries:
        raise UserError(f"The file {path} has no records; expected one image with its captions on each line.")
    kind = _label_kind(columns, options)
    first = entries[0]
    if options.check_images and not os.path.isfile(first.image):
        raise UserError(
            f"{path} line {first.line}: no such image file {first.image!r}; "
            "--image_root sets the folder that relative paths start from."
        )
    return RowTable.from_rows(
        os.path.splitext(os.path.basename(path))[0],
        _rows(entries, kind, options),
        label_kind=kind,
        place=lambda number: f"{path} line {entries[number].line}",
        check_images=options.check_images,
    )


def _read(path: str, options: SourceOptions) -> tuple[Columns, list[_Entry]]:
    root = os.path.expanduser(options.image_root) or os.path.dirname(os.path.abspath(path))
    entries: dict[str, _Entry] = {}
    names: dict[str, None] = {}  # all fields seen; a JSON record may lack some
    columns: Columns = {}
    for record in read_records(path):
        if record.fields.keys() - names.keys():
            names |= dict.fromkeys(record.fields)
            columns = find_columns(list(names), options)
        entry = _entry(record, columns, root, path)
        first = entries.setdefault(entry.image, entry)
        if first is not entry:
            _merge(first, entry, path)
    return columns, list(entries.values())


def find_columns(names: list[str], options: SourceOptions) -> Columns:
    """The columns of each role ("image", "caption", "label", "id", "split", "category"), [] for none.

    Raises:
        UserError: a column that was named, or one for images or captions, does not exist.
    """
    columns: Columns = {}
    for role in _USUAL:
        given = [name.strip() for name in getattr(options, f"{role}_column").split(",") if name.strip()]
        for name in given:
            if name not in names:
                raise UserError(
                    f"{options.table} has no column {name!r}; its columns are {', '.join(names)}."
                )
        columns[role] = given
    taken = {name for given in columns.values() for name in given}
    free = {name.lower(): name for name in reversed(names) if name not in taken}
    for role, usual in _USUAL.items():
        columns[role] = columns[role] or [free[name] for name in usual if name in free][:1]
    columns["caption"] = columns["caption"] or [name for name in names if _NUMBERED.fullmatch(name.lower())]
    for role in ("image", "caption"):
        if not columns[role]:
            raise UserError(
                f"{options.table} has no {role} column; its columns are {', '.join(names)}: "
                f"name the right one with --{role}_column."
            )
    return columns


def _entry(record: Record, columns: Columns, root: str, path: str) -> _Entry:
    values = {role: _text(record.fields.get(names[0])) if names else "" for role, names in columns.items()}
    place = f"{path} line {record.line}"
    if not values["image"]:
        raise UserError(f"{place}: no image; expected a path in column {columns['image'][0]!r}.")
    split = split_name(values["split"]) if values["split"] else ""
    if split is None:
        raise UserError(f"{place}: unknown split {values['split']!r}; expected train, validation or test.")
    if columns["label"] and not values["label"]:
        raise UserError(f"{place}: no label; expected a name or number in column {columns['label'][0]!r}.")
    return _Entry(
        line=record.line,
        image=os.path.join(root, values["image"]),
        image_id=values["id"] or values["image"],
        captions=_captions([record.fields.get(name) for name in columns["caption"]], place),
        label=values["label"],
        split=split,
        category=values["category"],
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _captions(values: Iterable[Any], place: str) -> list[str]:
    captions: list[str] = []
    for value in values:
        if isinstance(value, str) and value.startswith('["'):
            with contextlib.suppress(json.JSONDecodeError):  # then the caption really begins so
                value = json.loads(value)
        many = value if isinstance(value, list) else [value]
        if not all(caption is None or isinstance(caption, str) for caption in many):
            raise UserError(f"{place}: a caption that is no text; expected a string or a list of strings.")
        captions += [caption.strip() for caption in many if caption and caption.strip()]
    return captions


def _merge(first: _Entry, other: _Entry, path: str) -> None:
    for field in ("label", "split", "category"):
        here, before = getattr(other, field), getattr(first, field)
        if here != before:
            raise UserError(
                f"{path} line {other.line}: image {other.image!r} has {field} {here!r} here but {before!r} "
                f"in line {first.line}; make them equal."
            )
    first.captions += other.captions


def _label_kind(columns: Columns, options: SourceOptions) -> LabelKind:
    label = columns["label"]
    if options.identity_disjoint and not label:
        raise UserError(
            f"Disjoint identities need a label column in {options.table}: name it with --label_column."
        )
    if not label:
        return "image"
    if options.label_kind:
        return options.label_kind
    return "identity" if label[0].lower() in _IDENTITY else "class"


def _rows(entries: list[_Entry], kind: LabelKind, options: SourceOptions) -> Iterator[Row]:
    made = not any(entry.split for entry in entries)
    for entry in entries:
        split = entry.split
        if made:
            key = entry.label if options.identity_disjoint else entry.image_id
            split = hash_split(f"{options.seed}:{key}", options.validation_share, options.test_share)
        captions = tuple(dict.fromkeys(entry.captions))
        yield Row(entry.image, captions, entry.label, entry.image_id, split, entry.category)
