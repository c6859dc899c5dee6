"""Your own pairs: any CSV or JSON-lines file with an image path and captions."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from xmkeras.data import roles
from xmkeras.data.array_files import read_matrix, split_reference
from xmkeras.data.records import Record, read_records
from xmkeras.data.rows import LabelKind, Row, RowTable
from xmkeras.data.splits import hash_split, split_name, unseen_splits
from xmkeras.data.vector_table import by_image
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
    """What the records of one image say together."""

    lines: list[int]
    image: str
    image_id: str
    captions: list[str]
    label: str
    split: str
    category: str


def load(options: SourceOptions) -> RowTable:
    """Reads `options.table`; records that share an image are merged into one row with all their captions.

    Columns are found by their usual names unless `options.columns` names them. Without a label column every image
    is its own label. Without a split column, or where it is empty throughout, rows are split by a hash of the
    seed and the image id, or of the seed and the label with `identity_disjoint`. With the split rule "classes", which
    takes the place of a split column, the first half of the classes in order of name is trained, less the validation
    share of them, and the second half tested. `options.image_features`, FILE or
    FILE:ARRAY, brings vectors in place of the image files, one a record or one a distinct image; the images may then
    be named by the id column alone.

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
    files = options.check_images and not options.image_features
    first = entries[0]
    if files and not os.path.isfile(first.image):
        raise UserError(
            f"{path} line {first.lines[0]}: no such image file {first.image!r}; "
            "--image_root sets the folder that relative paths start from."
        )
    table = RowTable.from_rows(
        os.path.splitext(os.path.basename(path))[0],
        _rows(entries, kind, options),
        label_kind=kind,
        place=lambda number: f"{path} line {entries[number].lines[0]}",
        check_images=files,
        captions=options.captions,
        fault=options.fault,
    )
    return _with_vectors(table, entries, options.image_features) if options.image_features else table


def _with_vectors(table: RowTable, entries: list[_Entry], reference: str) -> RowTable:
    """The table with the vectors of a file in place of its image files."""
    image_of_line = {line: number for number, entry in enumerate(entries) for line in entry.lines}
    index = np.array([image_of_line[line] for line in sorted(image_of_line)])
    vectors = by_image(f"{table.name} with {reference}", read_matrix(*split_reference(reference)), index)
    return dataclasses.replace(table, image_paths=None, features=vectors)


def _read(path: str, options: SourceOptions) -> tuple[Columns, list[_Entry]]:
    root = os.path.expanduser(options.image_root) or os.path.dirname(os.path.abspath(path))
    entries: dict[str, _Entry] = {}
    names: dict[str, None] = {}  # all fields seen; a JSON record may lack some
    columns: Columns = {}
    for record in read_records(path, options.fault):
        if record.fields.keys() - names.keys():
            names |= dict.fromkeys(record.fields)
            columns = find_columns(list(names), options)
        try:
            entry = _entry(record, columns, root, path)
            first = entries.setdefault(entry.image, entry)
            if first is not entry:
                _merge(first, entry, path)
        except UserError as error:
            options.fault(str(error))
    return columns, list(entries.values())


def find_columns(names: list[str], options: SourceOptions) -> Columns:
    """The columns of each role ("image", "caption", "label", "id", "split", "category"), [] for none.

    Raises:
        UserError: a column that was named, or one for images or captions, does not exist.
    """
    columns = roles.find_columns(names, options.columns, _USUAL, options.table)
    columns["caption"] = columns["caption"] or [name for name in names if _NUMBERED.fullmatch(name.lower())]
    if options.image_features:
        columns["image"] = columns["image"] or columns["id"]
    for role in ("image", "caption") if options.captions else ("image",):
        if not columns[role]:
            raise UserError(
                f"{options.table} has no {role} column; its columns are {', '.join(names)}: "
                f"name the right one with --columns={role}=NAME."
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
        lines=[record.line],
        # ./img/x.jpg is the image img/x.jpg.
        image=os.path.normpath(os.path.join(root, values["image"])),
        image_id=values["id"] or os.path.normpath(values["image"]),
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
                f"{path} line {other.lines[0]}: image {other.image!r} has {field} {here!r} here but {before!r} "
                f"in line {first.lines[0]}; make them equal."
            )
    first.captions += other.captions
    first.lines += other.lines


def _label_kind(columns: Columns, options: SourceOptions) -> LabelKind:
    label = columns["label"]
    if options.identity_disjoint and not label:
        raise UserError(
            f"Disjoint identities need a label column in {options.table}: name it with --columns=label=NAME."
        )
    if not label:
        return "image"
    if options.label_kind:
        return options.label_kind
    return "identity" if label[0].lower() in _IDENTITY else "class"


def _splits_of_classes(entries: list[_Entry], kind: LabelKind, options: SourceOptions) -> dict[str, str]:
    """The split of each label by the split rule; {} where none was given."""
    if not options.split_rule:
        return {}
    if options.split_rule != "classes":
        raise UserError(f"--split_rule={options.split_rule} is not known for a table; give classes, or nothing.")
    if kind == "image":
        raise UserError(
            f"--split_rule=classes needs a label column in {options.table}: name it with --columns=label=NAME."
        )
    names = sorted({entry.label for entry in entries}, key=lambda name: (len(name) if name.isdigit() else 0, name))
    half = -(-len(names) // 2)
    return unseen_splits(names[:half], names[half:], options.validation_share)


def _rows(entries: list[_Entry], kind: LabelKind, options: SourceOptions) -> Iterator[Row]:
    of_classes = _splits_of_classes(entries, kind, options)
    made = not any(entry.split for entry in entries)
    for entry in entries:
        split = of_classes.get(entry.label, entry.split)
        if made and not of_classes:
            key = entry.label if options.identity_disjoint else entry.image_id
            split = hash_split(f"{options.seed}:{key}", options.validation_share, options.test_share)
        captions = tuple(dict.fromkeys(entry.captions))
        yield Row(entry.image, captions, entry.label, entry.image_id, split, entry.category)
