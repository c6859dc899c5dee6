"""Reed's captions: ten sentences an image in `text_c10/CLASS/IMAGE.txt`, and the classes of each split in lists."""

from __future__ import annotations

import hashlib
import os

from xmkeras.errors import UserError

PAGE = "https://github.com/reedscot/cvpr2016"
_LISTS = {"train": "trainclasses.txt", "validation": "valclasses.txt", "test": "testclasses.txt"}
_BOTH = "trainvalclasses.txt"


def captions_folder(folder: str, archive: str) -> str:
    """Where `text_c10` and the lists lie: in `folder` or, as in the archive, in its subfolder `archive`."""
    inner = os.path.join(folder, archive)
    return inner if os.path.isdir(os.path.join(inner, "text_c10")) else folder


def missing_captions(folder: str, files: str) -> list[str]:
    """What `folder` lacks, as one phrase for the message, or []; `files` is the pattern of the caption files."""
    wanted = [] if os.path.isdir(os.path.join(folder, "text_c10")) else [f"text_c10/{files}"]
    wanted += [name for split, name in _LISTS.items() if not _has_list(folder, split)]
    return [f"the captions and class lists {', '.join(wanted)} (of {PAGE})"] if wanted else []


def _has_list(folder: str, split: str) -> bool:
    names = [_LISTS[split]] if split == "test" else [_LISTS[split], _BOTH]
    return any(os.path.isfile(os.path.join(folder, name)) for name in names)


def class_splits(folder: str, validation_share: float) -> dict[str, str]:
    """The split of each class by the lists in `folder`.

    Where validation classes are not listed, that share (0 to 1) of `trainvalclasses.txt` is taken by hash.

    Raises:
        UserError: a list is empty, or a class is in two.
    """
    lists = {split: _read_list(os.path.join(folder, name)) for split, name in _LISTS.items()}
    if not lists["train"] or not lists["validation"]:
        both = sorted(_read_list(os.path.join(folder, _BOTH)), key=_hash)
        taken = both[: round(len(both) * validation_share)]
        lists["validation"] = lists["validation"] or [name for name in taken if name not in lists["train"]]
        lists["train"] = [name for name in both if name not in lists["validation"]]
    splits: dict[str, str] = {}
    for split, names in lists.items():
        if not names:
            raise UserError(f"The class list of {split} in {folder} is empty; expected a class a line.")
        for name in names:
            if splits.setdefault(name, split) != split:
                raise UserError(f"The class {name} is in the lists of {splits[name]} and {split} in {folder}.")
    return splits


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _read_list(path: str) -> list[str]:
    if not os.path.isfile(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip()]


def read_captions(folder: str, class_name: str, image_id: str) -> tuple[str, ...]:
    """The captions of an image.

    Raises:
        UserError: it has no caption file.
    """
    path = os.path.join(folder, "text_c10", class_name, f"{image_id}.txt")
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return tuple(line.strip() for line in file if line.strip())
    except OSError as error:
        raise UserError(f"The captions {path} of an image cannot be read ({error.strerror or error}).") from error
