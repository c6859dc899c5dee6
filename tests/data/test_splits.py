"""Tests of xmkeras/data/splits.py."""

from __future__ import annotations

import collections
import hashlib

import pytest

from xmkeras.data.row import SPLITS
from xmkeras.data.splits import hash_split, split_name, unseen_splits


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("train", "train"), (" Training ", "train"), ("restval", "train"),
        ("val", "validation"), ("VALID", "validation"), ("dev", "validation"), ("validation", "validation"),
        ("Test", "test"), ("testing", "test"), ("holdout", None), ("", None),
    ],
)  # fmt: skip
def test_usual_spellings(text, name):
    assert split_name(text) == name


def test_every_split_has_its_own_name():
    assert [split_name(name) for name in SPLITS] == list(SPLITS)


def test_shares_hold_on_average():
    counts = collections.Counter(hash_split(str(key), 0.1, 0.2) for key in range(20_000))
    assert counts["test"] / 20_000 == pytest.approx(0.2, abs=0.01)
    assert counts["validation"] / 20_000 == pytest.approx(0.1, abs=0.01)


def test_the_split_is_where_the_hash_falls():
    for key in ("a", "b", "c", "d", "e"):
        position = int(hashlib.sha256(key.encode()).hexdigest()[:16], 16) / 2**64
        expected = "test" if position < 0.4 else "validation" if position < 0.7 else "train"
        assert hash_split(key, 0.3, 0.4) == expected


def test_shares_of_nothing_and_everything():
    assert {hash_split(str(key), 0, 0) for key in range(50)} == {"train"}
    assert {hash_split(str(key), 0, 1) for key in range(50)} == {"test"}


def test_held_out_classes_do_not_depend_on_the_order():
    names = [f"class {number}" for number in range(40)]
    splits = unseen_splits(names, ["other"], 0.25)
    assert collections.Counter(splits.values()) == {"train": 30, "validation": 10, "test": 1}
    assert unseen_splits(names[::-1], ["other"], 0.25) == splits
    assert set(unseen_splits(names, [], 0.0).values()) == {"train"}


def test_one_class_alone_is_not_held_out():
    assert collections.Counter(unseen_splits("abcdef", [], 0.1).values()) == {"train": 4, "validation": 2}
    assert collections.Counter(unseen_splits("abcd", [], 0.99).values()) == {"train": 2, "validation": 2}
    for few, share in (("abc", 0.1), ("abc", 0.2), ("abc", 0.9), ("ab", 0.5), ("a", 0.5), ("", 0.5)):
        assert set(unseen_splits(few, [], share).values()) <= {"train"}
