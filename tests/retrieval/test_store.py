"""The store of vectors under damage: a journal cut short anywhere, and arrays that nothing names."""

import numpy as np
import pytest

from xmkeras.retrieval.store import Entry, VectorStore


def entry(number, fault=""):
    return Entry(f"file {number}", number, 10 * number, fault)


def rows(*numbers):
    return np.array([[number, number + 0.5] for number in numbers], np.float32)


def contents(store):
    store.keep(list(store.entries))
    good = [path for path, one in store.entries.items() if not one.fault]
    return dict(zip(good, store.vectors[:, 0].tolist(), strict=True))


def test_entries_come_back_in_order_with_their_vectors(tmp_path):
    store = VectorStore(tmp_path)
    store.append([entry(1), entry(2, "broken"), entry(3)], rows(1, 3))
    store.keep(["file 3", "file 2", "file 1"])
    again = VectorStore(tmp_path)
    assert list(again.entries) == ["file 3", "file 2", "file 1"]
    assert again.entries["file 2"] == entry(2, "broken")
    np.testing.assert_array_equal(again.vectors, rows(3, 1))


def test_later_entries_replace_earlier_ones(tmp_path):
    store = VectorStore(tmp_path)
    store.append([entry(1), entry(2)], rows(1, 2))
    store.keep(["file 1", "file 2"])
    store.append([Entry("file 1", 9, 9), entry(3)], rows(100, 3))
    assert contents(store) == {"file 1": 100, "file 2": 2, "file 3": 3}
    assert contents(VectorStore(tmp_path)) == {"file 1": 100, "file 2": 2, "file 3": 3}
    assert len(list(tmp_path.glob("vectors-*.npy"))) == 1


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_journal_cut_anywhere_loses_only_its_end(tmp_path, cut):
    store = VectorStore(tmp_path)
    store.append([entry(1)], rows(1))
    whole = (tmp_path / "journal.jsonl").stat().st_size
    store.append([entry(2, "broken"), entry(3)], rows(3))
    for name, size in (("journal.jsonl", whole + cut), ("journal.f32", 8 + cut % 8)):
        with open(tmp_path / name, "r+b") as file:
            file.truncate(size)
    again = VectorStore(tmp_path)
    assert again.entries["file 1"] == entry(1)
    again.append([entry(4)], rows(4))
    found = contents(VectorStore(tmp_path))
    assert (found["file 1"], found["file 4"]) == (1, 4)
    assert "file 3" not in found


def test_vectors_without_their_line_are_dropped(tmp_path):
    store = VectorStore(tmp_path)
    store.append([entry(1)], rows(1))
    with open(tmp_path / "journal.f32", "ab") as file:
        file.write(rows(77).tobytes() + b"xyz")
    store = VectorStore(tmp_path)
    store.append([entry(2)], rows(2))
    assert contents(store) == {"file 1": 1, "file 2": 2}


def test_an_array_that_was_not_finished_is_removed(tmp_path):
    store = VectorStore(tmp_path)
    store.append([entry(1)], rows(1))
    store.keep(["file 1"])
    (tmp_path / "vectors-unfinished.npy").write_bytes(b"half")
    assert contents(VectorStore(tmp_path)) == {"file 1": 1}
    assert len(list(tmp_path.glob("vectors-*.npy"))) == 1


def test_vectors_of_another_length_are_refused(tmp_path):
    store = VectorStore(tmp_path)
    store.append([entry(1)], rows(1))
    with pytest.raises(ValueError, match="3 numbers"):
        store.append([entry(2)], np.zeros((1, 3), np.float32))


def test_a_journal_of_other_vectors_or_changed_numbers_is_dropped(tmp_path):
    store = VectorStore(tmp_path)
    store.append([entry(1)], rows(1))
    store.keep(["file 1"])
    store.append([entry(2), entry(3)], rows(2, 3))
    with open(tmp_path / "journal.f32", "r+b") as file:
        file.seek(8)
        file.write(b"\x7f" * 4)
    assert contents(VectorStore(tmp_path)) == {"file 1": 1, "file 2": 2}
    (tmp_path / "journal.jsonl").write_text('[3, 0, "file 9", 1, 1, ""]\n')
    (tmp_path / "journal.f32").write_bytes(bytes(12))
    assert contents(VectorStore(tmp_path)) == {"file 1": 1, "file 2": 2}
    for nonsense in ("{}\n", "[1]\n", '[2, "x", "file 9", 1, 1, ""]\n', "\x00\n"):
        (tmp_path / "journal.jsonl").write_text(nonsense)
        assert contents(VectorStore(tmp_path)) == {"file 1": 1, "file 2": 2}
