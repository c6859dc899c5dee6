"""Sets of feature pairs published as one matrix a file: train_img.mat, train_txt.mat, train_img_lab.mat and so on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from xmkeras.data.array_files import read_matrix
from xmkeras.data.rows import RowTable
from xmkeras.data.vector_table import vector_table, with_validation
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

_SPLITS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}
_KINDS = {"image": ("img", "image"), "text": ("txt", "text"), "label": ("img_lab", "lab", "label", "labels")}
_ENDINGS = (".mat", ".npy", ".h5", ".npz")


def load_folder(name: str, page: str, options: SourceOptions) -> RowTable:
    """Reads `<split>_<kind>.mat` (.npy, .h5, .npz) in the folder `name` below the data directory.

    The layout is that of the DSCMR release: `<split>` is train, val and test, `<kind>` is img, txt and img_lab (or
    lab); labels are one number a row, or one row of zeros and ones. Without files of validation, the validation
    share of each class is taken out of training. `options.image_features` and `options.text_features` name other
    files after the split: `--text_features=bow` reads `train_bow.mat`.

    Raises:
        UserError: files are missing or do not fit one another.
    """
    folder = os.path.join(options.root, name)
    if not os.path.isdir(folder):
        raise UserError(
            f"The {name} data set is missing: put train_img.mat, train_txt.mat, train_img_lab.mat, test_img.mat, "
            f"test_txt.mat and test_img_lab.mat (from {page}) into {folder}, or say with --data_dir where the folder "
            f"{name} lies."
        )
    kinds = _KINDS | {
        side: (chosen,) for side in ("image", "text") if (chosen := getattr(options, f"{side}_features"))
    }
    parts: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    splits: list[str] = []
    for split in _SPLITS:
        files = {kind: _find(folder, split, names) for kind, names in kinds.items()}
        if split == "validation" and not any(files.values()):
            continue
        for kind, path in files.items():
            if not path:
                expected = f"{_SPLITS[split][0]}_{kinds[kind][0]}.mat"
                raise UserError(f"The {name} data set in {folder} lacks {expected} (from {page}).")
            matrix = read_matrix(path)
            parts[kind].append(_numbers(matrix) if kind == "label" else matrix)
        splits += [split] * len(parts["label"][-1])
    labels = np.concatenate(parts["label"])
    ids = [f"{name}-{row:05d}" for row in range(len(labels))]
    return vector_table(
        name,
        images=np.concatenate(parts["image"]),
        texts=np.concatenate(parts["text"]),
        labels=labels.tolist(),
        splits=with_validation(name, splits, ids, labels.tolist(), options.validation_share, options.seed),
        image_ids=ids,
    )


def _find(folder: str, split: str, kinds: tuple[str, ...]) -> str:
    """The file of a split and a kind, "" where there is none."""
    names = [f"{one}_{kind}{end}" for one in _SPLITS[split] for kind in kinds for end in _ENDINGS]
    return next((path for name in names if os.path.isfile(path := os.path.join(folder, name))), "")


def _numbers(labels: np.ndarray) -> np.ndarray:
    """The class of each row, of numbers (n, 1) or (1, n) or of rows of zeros and a one (n, C)."""
    if 1 in labels.shape:
        return labels.ravel().astype(np.int64)
    return np.argmax(labels, axis=1).astype(np.int64)
