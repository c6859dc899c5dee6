"""Names of splits, and splits made by hashing."""

from __future__ import annotations

import hashlib

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
