"""Names of splits, and splits made by hashing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

_SPELLINGS = {
    "train": ("train", "training", "tr", "trn", "restval"),
    "validation": ("validation", "val", "valid", "dev", "development"),
    "test": ("test", "testing", "te", "tst"),
}
_NAMES = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}


def split_name(text: str) -> str | None:
    """One of `SPLITS` for a usual spelling ("val", "Dev"; "restval" is training as in SCAN), or None."""
    return _NAMES.get(text.strip().lower())


def hash_split(key: str, validation_share: float, test_share: float) -> str:
    """The split of `key`, the same in every process and whatever other keys there are.

    Shares are between 0 and 1; the rest is training.
    """
    position = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    if position < test_share:
        return "test"
    return "validation" if position < test_share + validation_share else "train"


def unseen_splits(trained: Sequence[str], tested: Iterable[str], validation_share: float) -> dict[str, str]:
    """The split of each class where those of validation and test are never trained.

    That share (0 to 1) of the trained classes is held out for validation, the ones whose names have the least hash. A
    single class has nothing to be told from: at least two are held out and two left, or none where there are not four.
    """
    by_hash = sorted(trained, key=lambda name: hashlib.sha256(name.encode()).digest())
    number = min(max(round(validation_share * len(by_hash)), 2), len(by_hash) - 2)
    if number < 2 or not validation_share:
        number = 0
    held_out = set(by_hash[:number])
    splits = {name: "validation" if name in held_out else "train" for name in trained}
    return splits | dict.fromkeys(tested, "test")
