"""The Wikipedia set of 2010: 2,866 articles of ten classes, SIFT histograms beside topics or words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xmkeras.data.array_files import pick, read_arrays, split_reference
from xmkeras.data.published import incomplete
from xmkeras.data.rows import RowTable
from xmkeras.data.vector_table import set_aside, vector_table, with_validation
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

PAGE = "http://www.svcl.ucsd.edu/projects/crossmodal/"
CREDIT = "Wikipedia featured articles, Rasiwasia et al., ACM Multimedia 2010"
_LISTS = {"train": "trainset_txt_img_cat.list", "test": "testset_txt_img_cat.list"}
_FILE, _TFIDF_FILE = "raw_features.mat", "raw_features_with_tfidf1000.mat"
# What a name means: the file, and its arrays of the training and of the test list.
_KNOWN = {
    "image": {"": (_FILE, ("I_tr", "I_te")), "sift": (_FILE, ("I_tr", "I_te"))},
    "text": {
        "": (_FILE, ("T_tr", "T_te")),
        "lda": (_FILE, ("T_tr", "T_te")),
        "tfidf": (_TFIDF_FILE, ("T_tfidf_tr", "T_tfidf_te")),
    },
}
SPLIT_RULES = ("published", "daml", "daml_table")


class _Item(NamedTuple):
    text_id: str
    image_id: str
    label: int
    part: str


def load(options: SourceOptions) -> RowTable:
    """Reads `wikipedia/` below the data directory: the two lists and the features they go with.

    `options.image_features`: "sift" (128) or a file; `options.text_features`: "lda" (10), "tfidf" (1000) or a
    file. A file holds one matrix of all 2,866 rows, training list first, or one matrix for each list.
    `options.split_rule`: "published", the lists, 2,173 and 693, with the validation share of each class taken out
    of training; "daml", the text of paper 001, the test list cut into 231 for validation and 462 for testing;
    "daml_table", its Table 1, 1,300 for training (validation taken from it) and 1,566 for testing.

    Raises:
        UserError: files are missing or do not fit the lists, or the rule is unknown.
    """
    folder = os.path.join(options.root, "wikipedia")
    _require(folder)
    items = [item for part in _LISTS for item in _read_list(os.path.join(folder, _LISTS[part]), part)]
    counts = [sum(item.part == part for item in items) for part in _LISTS]
    return vector_table(
        "wikipedia",
        images=_vectors("image", options.image_features, folder, counts),
        texts=_vectors("text", options.text_features, folder, counts),
        labels=[item.label for item in items],
        splits=_splits(items, options),
        image_ids=[item.image_id for item in items],
        captions=[item.text_id for item in items],
        label_names=_label_names(folder),
        credit=CREDIT,
    )


def _require(folder: str) -> None:
    missing = [name for name in (*_LISTS.values(), _FILE) if not os.path.isfile(os.path.join(folder, name))]
    if missing:
        raise incomplete("wikipedia", [f"{', '.join(missing)} (wikipedia_dataset of {PAGE})"], folder)


def _read_list(path: str, part: str) -> list[_Item]:
    items = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            fields = line.rstrip("\n").split("\t")
            if len(fields) != 3 or not fields[2].strip().isdigit():
                raise UserError(f"{path} line {number}: expected text id, image id and class, parted by tabs.")
            items.append(_Item(fields[0], fields[1], int(fields[2]), part))
    return items


def _label_names(folder: str) -> dict[int | str, str]:
    path = os.path.join(folder, "categories.list")
    if not os.path.isfile(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return {number: line.strip() for number, line in enumerate(file, 1) if line.strip()}


def _vectors(side: str, name: str, folder: str, counts: Sequence[int]) -> np.ndarray:
    """The rows of both lists, (sum of counts, d)."""
    known = _KNOWN[side]
    if name in known:
        file, names = known[name]
        path = os.path.join(folder, file)
        arrays = read_arrays(path)
        parts = [pick(arrays, one, path) for one in names]
    else:
        path, wanted = split_reference(name)
        if not os.path.isabs(path) and not os.path.isfile(path):
            path = os.path.join(folder, path)
        if not os.path.isfile(path):
            names_known = ", ".join(one for one in known if one)
            raise UserError(f"--{side}_features={name} is none of {names_known} and no file either.")
        arrays = read_arrays(path)
        if wanted:
            parts = [pick(arrays, one, path) for one in wanted.split(",")]
        else:
            parts = _of_both_lists([array for array in arrays.values() if array.ndim == 2], counts)
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty((0, 0))])
    if len(whole) != sum(counts):
        raise UserError(
            f"{path} has {len(whole)} {side} vectors for the {sum(counts)} rows of the lists; expected one matrix of "
            f"{sum(counts)} rows, or two of {counts[0]} and {counts[1]}, which FILE:TRAIN,TEST names."
        )
    return whole


def _of_both_lists(matrices: list[np.ndarray], counts: Sequence[int]) -> list[np.ndarray]:
    """The one matrix of all rows, or the one of each list, by their lengths; [] where that is not clear."""
    for lengths in ((sum(counts),), tuple(counts)):
        found = [[matrix for matrix in matrices if len(matrix) == length] for length in lengths]
        if all(len(one) == 1 for one in found):
            return [one[0] for one in found]
    return []


def _splits(items: list[_Item], options: SourceOptions) -> list[str]:
    rule = options.split_rule or "published"
    if rule not in SPLIT_RULES:
        raise UserError(f"--split_rule={rule} is not known; choose one of {', '.join(SPLIT_RULES)}.")
    ids, labels = [item.text_id for item in items], [item.label for item in items]
    splits = np.array([item.part for item in items], dtype="<U10")
    if rule == "daml_table":
        splits[:] = "test"
        splits[_first_by_hash(ids, 1300, options.seed)] = "train"
    if rule == "daml":
        held = np.flatnonzero(splits == "test")
        splits[held[_first_by_hash([ids[row] for row in held], len(held) // 3, options.seed)]] = "validation"
    return with_validation("wikipedia", splits.tolist(), ids, labels, options.validation_share, options.seed)


def _first_by_hash(ids: list[str], count: int, seed: int) -> np.ndarray:
    """`count` of the rows, spread evenly by hash whatever their class."""
    order = set_aside(ids, [0] * len(ids), count / len(ids), seed)
    return np.flatnonzero(order)
