"""The index of a folder: what is embedded when, what survives, and that search is exact."""

import hashlib
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from xmkeras.errors import UserError
from xmkeras.retrieval.index import ImageIndex
from xmkeras.retrieval.ranking import top_k

DIM = 6


def vector_of(data: bytes) -> np.ndarray:
    return np.random.default_rng(int.from_bytes(data, "little")).standard_normal(DIM)


class Embed:
    """A stand-in for a model: a vector from the bytes of a file; a file that says so is broken."""

    def __init__(self, die_after=None):
        self.seen: list[bytes] = []
        self.die_after = die_after

    def __call__(self, images):
        if self.die_after is not None and len(self.seen) + len(images) > self.die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen += images
        vectors = np.stack([vector_of(data) for data in images]).astype(np.float32)
        return vectors, np.array([data != b"broken" for data in images])


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    (root / "deep" / "er").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for number in range(20):
        place = root / "deep" / "er" if number % 3 == 0 else root
        (place / f"{number:02}.{['jpg', 'PNG', 'webp'][number % 3]}").write_bytes(b"image %d" % number)
    (root / "notes.txt").write_bytes(b"no image")
    (root / ".hidden" / "x.jpg").write_bytes(b"hidden")
    return root


def update(folder, embed, **options):
    return ImageIndex.open_or_update(folder, folder.parent / "cache", embed, "model 1", batch=4, **options)


def test_search_is_the_exact_cosine_order(folder):
    index = update(folder, Embed())
    assert len(index) == 20
    query = np.random.default_rng(0).standard_normal((3, DIM)) * 7
    paths, scores = index.search(query, 5)
    unit = np.stack([vector_of(Path(path).read_bytes()) for path in index.paths])
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    expected = query / np.linalg.norm(query, axis=1)[:, None] @ unit.T
    order = np.argsort(-expected, axis=1)[:, :5]
    assert paths == [[index.paths[place] for place in row] for row in order]
    np.testing.assert_allclose(scores, np.take_along_axis(expected, order, 1), atol=1e-6)
    assert all(os.path.isfile(path) for path in index.paths)


def test_one_vector_and_a_large_k_are_fine_and_a_wrong_dimension_is_not(folder):
    index = update(folder, Embed())
    paths, scores = index.search(np.ones(DIM), 99)
    assert len(paths[0]) == 20
    assert scores.shape == (1, 20)
    with pytest.raises(ValueError, match="7 numbers"):
        index.search(np.ones(7))


def test_a_second_opening_embeds_nothing_and_maps_the_vectors(folder):
    first = update(folder, Embed())
    embed = Embed()
    again = update(folder, embed)
    assert embed.seen == []
    assert (again.embedded, again.forgotten) == (0, 0)
    assert isinstance(again.vectors, np.memmap)
    assert list(again.paths) == list(first.paths)
    np.testing.assert_array_equal(again.vectors, first.vectors)


def test_only_new_and_changed_files_are_embedded_and_deleted_ones_forgotten(folder):
    update(folder, Embed())
    (folder / "new.gif").write_bytes(b"new")
    (folder / "01.PNG").write_bytes(b"changed")
    (folder / "02.webp").unlink()
    embed = Embed()
    index = update(folder, embed)
    assert sorted(embed.seen) == [b"changed", b"new"]
    assert (index.embedded, index.forgotten, len(index)) == (2, 1, 20)
    for data in (b"changed", b"new", b"image 3"):
        (path,), _ = index.search(vector_of(data), 1)
        assert Path(path[0]).read_bytes() == data


def test_a_file_of_the_same_size_but_another_time_is_embedded_again(folder):
    update(folder, Embed())
    os.utime(folder / "01.PNG", ns=(1, 1))
    embed = Embed()
    update(folder, embed)
    assert embed.seen == [b"image 1"]


def test_another_model_has_an_index_of_its_own(folder):
    update(folder, Embed())
    embed = Embed()
    ImageIndex.open_or_update(folder, folder.parent / "cache", embed, "model 2")
    assert len(embed.seen) == 20


def test_broken_files_are_skipped_named_and_not_tried_again(folder):
    (folder / "bad.jpg").write_bytes(b"broken")
    index = update(folder, Embed())
    assert len(index) == 20
    assert index.broken == [f"{folder / 'bad.jpg'} is not an image that can be decoded"]
    embed = Embed()
    assert update(folder, embed).broken == index.broken
    assert embed.seen == []
    (folder / "bad.jpg").write_bytes(b"mended")
    assert update(folder, embed).broken == []


def test_vectors_that_are_not_finite_count_as_broken(folder):
    def embed(images):
        vectors, valid = Embed()(images)
        vectors[[data == b"image 5" for data in images]] = np.nan
        return vectors, valid

    index = update(folder, embed)
    assert len(index) == 19
    assert index.broken == [f"{folder / '05.webp'} is not an image that can be decoded"]


@pytest.mark.parametrize("survives", [0, 5, 13])
def test_a_killed_update_goes_on_where_it_was(folder, survives):
    process = multiprocessing.get_context("fork").Process(target=update, args=(folder, Embed(die_after=survives)))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    embed = Embed()
    index = update(folder, embed)
    assert len(embed.seen) == 20 - survives // 4 * 4
    np.testing.assert_allclose(index.vectors, update(folder, Embed()).vectors)
    fresh = ImageIndex.open_or_update(folder, folder.parent / "other", Embed(), "model 1")
    assert list(fresh.paths) == list(index.paths)
    np.testing.assert_array_equal(fresh.vectors, index.vectors)


def test_folders_without_images_are_explained(tmp_path):
    with pytest.raises(UserError, match="cannot list the folder"):
        update(tmp_path / "nowhere", Embed())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images in"):
        update(tmp_path / "empty", Embed())
    (tmp_path / "empty" / "a.jpg").write_bytes(b"broken")
    with pytest.raises(UserError, match="none of the 1 images"):
        update(tmp_path / "empty", Embed())


def test_a_search_returns_names_and_cosines():
    index = ImageIndex(list("abcd"), np.eye(4, dtype=np.float32))
    paths, scores = index.search([0, 0, 2, 1], 2)
    assert paths == [["c", "d"]]
    assert scores[0, 0] == pytest.approx(2 / np.sqrt(5))


def test_a_euclidean_model_is_searched_by_the_distance_as_evaluation_ranks(folder):
    def embed(images):
        vectors, valid = Embed()(images)
        return vectors * np.arange(1, len(images) + 1, dtype=np.float32)[:, None], valid

    index = update(folder, embed, score="euclidean")
    query = np.random.default_rng(0).standard_normal((3, DIM)).astype(np.float32)
    paths, scores = index.search(query, 5)
    expected, distances = top_k(query, index.vectors, 5, score="euclidean")
    assert paths == [[index.paths[place] for place in row] for row in expected]
    np.testing.assert_allclose(scores, distances, rtol=1e-5)
    assert np.ptp(np.linalg.norm(index.vectors, axis=1)) > 1
    assert paths != update(folder, embed).search(query, 5)[0]
    again = Embed()
    assert update(folder, again, score="euclidean").score == "euclidean"
    assert again.seen == []


def test_the_index_of_a_cosine_model_keeps_its_old_place(folder):
    update(folder, Embed())
    (place,) = [path.name for path in (folder.parent / "cache").iterdir()]
    assert place == hashlib.sha256(f"{folder.resolve()}\nmodel 1".encode()).hexdigest()[:20]


def test_a_search_by_the_distance():
    index = ImageIndex(list("abc"), np.array([[1, 0], [9, 0], [0, 3]], np.float32), score="euclidean")
    paths, scores = index.search([8, 0], 2)
    assert paths == [["b", "a"]]
    assert scores[0].tolist() == pytest.approx([-1, -7])


def _scribble(place: Path) -> None:
    (array,) = place.glob("vectors-*.npy")
    data = bytearray(array.read_bytes())
    data[-64:] = os.urandom(64)
    array.write_bytes(bytes(data))


def _shorten(place: Path) -> None:
    (array,) = place.glob("vectors-*.npy")
    np.save(array, np.load(array)[:5])


@pytest.mark.parametrize(
    "damage",
    [
        _scribble,
        _shorten,
        lambda place: (place / "files.json").write_text("{}"),
        lambda place: (place / "files.json").write_text("[]"),
        lambda place: (place / "files.json").write_bytes(b"\xff"),
        lambda place: next(place.glob("vectors-*.npy")).unlink(),
        lambda place: next(place.glob("vectors-*.npy")).write_bytes(b""),
    ],
    ids=["bytes", "rows", "object", "list", "no text", "no array", "empty array"],
)
def test_a_damaged_index_is_made_again_and_says_so(folder, damage):
    known = update(folder, Embed())
    names, scores = known.search(np.ones(DIM))
    (place,) = (folder.parent / "cache").iterdir()
    damage(place)
    again = update(folder, Embed())
    assert again.embedded == 20
    assert "was damaged" in again.notes[0]
    assert again.search(np.ones(DIM))[0] == names
    np.testing.assert_array_equal(again.search(np.ones(DIM))[1], scores)
    assert update(folder, Embed()).notes == []


def test_an_index_that_cannot_be_written_is_made_for_the_moment(folder):
    (folder.parent / "cache").write_text("a file where the folder of indexes should be")
    index = update(folder, Embed())
    assert len(index) == 20
    assert "cannot be written" in index.notes[0]
    (folder.parent / "cache").unlink()
    update(folder, Embed())
    (place,) = (folder.parent / "cache").iterdir()
    (place / "lock").unlink()
    (place / "lock").mkdir()
    assert "cannot be written" in update(folder, Embed()).notes[0]


def test_a_name_that_is_no_utf_8_costs_no_other_its_place(folder):
    odd = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")
    Path(odd).write_bytes(b"image 99")
    assert odd in update(folder, Embed()).paths
    again = update(folder, Embed())
    assert (again.embedded, len(again)) == (0, 21)
