"""Pre-computed regions as SCAN published them: `{split}_ims.npy`, `{split}_caps.txt` and what lies beside them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import logging

from xmkeras.data.published import incomplete
from xmkeras.data.regions import Boxes
from xmkeras.data.release_tokens import SPECIAL, find_vocabulary, read_vocabulary
from xmkeras.data.rows import Row, RowTable
from xmkeras.data.stacked import stacked
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

# The releases validate on so many images of `dev`, whatever it holds.
VALIDATION = 1000
CAPTIONS = 5
# What no vocabulary has, and every tokenizer takes for one word.
_UNKNOWN = "\ufffd"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a published set lies on disk.

    Attributes:
        name: of the set.
        folders: below the data directory, the first of which that is there is read.
        tests: what the test split may be called, the first that is there.
        captions: of an image; 0 where the files decide.
        validation: images of `dev` that are kept; 0 keeps all.
        vocabulary: of the release, below the data directory.
        pictures: the folder of the photographs, beside `id_mapping.json`.
        page: where the files come from.
    """

    name: str
    folders: tuple[str, ...]
    tests: tuple[str, ...] = ("test",)
    captions: int = CAPTIONS
    validation: int = VALIDATION
    vocabulary: str = ""
    pictures: str = "images"
    page: str = "https://github.com/kuanghuei/SCAN"


@dataclasses.dataclass(frozen=True)
class _Part:
    """One split: the images' captions and ids, and where they lie in its array of regions."""

    captions: list[tuple[str, ...]]
    ids: list[str]
    rows: np.ndarray
    regions: np.ndarray
    boxes: tuple[np.ndarray, np.ndarray]


def load_regions(layout: Layout, options: SourceOptions) -> RowTable:
    """One row an image, in the order of the files, labelled by image; its regions stay in the mapped files.

    A split is read from `{split}_ims.npy` (images, regions, d), where each image may be repeated for each of its
    captions, and `{split}_caps.txt`, a caption a line, or BFAN's `{split}_precaps.txt`, the ids of its words with
    commas, which take the vocabulary of the release. Where they are there, `{split}_ids.txt` names the images,
    `{split}_boxes.npy` with `{split}_img_sizes.npy` (or `_ims_bbx.npy` with `_ims_size.npy`) tell where the regions
    lie, and `id_mapping.json` with the photographs (VSE-infinity's layout) shows them. Splits whose files are not there
    are left out.

    Raises:
        UserError: files are missing, damaged or do not fit one another.
    """
    folder = _folder(layout, options)
    names = {"train": "train", "validation": "dev", "test": _first(folder, layout.tests)}
    kept = {"validation": layout.validation}
    parts = {
        split: _read(layout, options, folder, file, kept.get(split, 0))
        for split, file in names.items()
        if _is_there(folder, file)
    }
    if not parts:
        expected = [f"{names['test']}_ims.npy and {names['test']}_caps.txt (and those of train and dev)"]
        raise incomplete(layout.name, [f"{expected[0]} from {layout.page}"], folder)
    _check_alike(folder, {names[split]: part.regions for split, part in parts.items()})
    starts = np.cumsum([0, *(len(part.regions) for part in parts.values())])
    ids = [name for part in parts.values() for name in part.ids]
    _check_distinct(folder, ids)
    return RowTable(
        layout.name,
        "image",
        "",
        captions=[captions for part in parts.values() for captions in part.captions],
        labels=np.arange(len(ids)),
        label_names=ids,
        image_ids=ids,
        image_index=np.concatenate([part.rows + start for part, start in zip(parts.values(), starts, strict=False)]),
        splits=np.repeat(list(parts), [len(part.ids) for part in parts.values()]),
        categories=[""] * len(ids),
        image_paths=picture_paths(layout.pictures, folder, ids, options.image_root),
        features=stacked(*(part.regions for part in parts.values())),
        boxes=_boxes([part.boxes for part in parts.values()]),
    )


def load_pictures(name: str, layout: Layout, options: SourceOptions) -> RowTable | None:
    """The photographs of VSE-infinity's layout: `precomp/{split}_ids.txt` and `_caps.txt`, and `id_mapping.json`.

    Args:
        name: of the data set.
        layout: of its regions, whose folder named precomp this is.
        options: `image_root` is the folder of the photographs where it lies elsewhere.

    Returns:
        One row an image; None where there is no `id_mapping.json` beside `precomp`.

    Raises:
        UserError: files are missing, damaged or do not fit one another.
    """
    places = [os.path.join(options.root, place) for place in layout.folders if os.path.basename(place) == "precomp"]
    texts = next((place for place in places if os.path.isfile(_mapping_beside(place))), "")
    if not texts:
        return None
    folder, mapping = os.path.dirname(texts), read_mapping(_mapping_beside(texts))
    root = options.image_root or os.path.join(folder, layout.pictures)

    def rows() -> Iterator[Row]:
        for split, file in {"train": "train", "validation": "dev", "test": _first(texts, layout.tests)}.items():
            lines = read_captions(texts, file)
            if len(lines) % CAPTIONS:
                raise UserError(f"{texts}/{file}_caps.txt has {len(lines)} captions, not {CAPTIONS} an image.")
            ids = read_ids(texts, file, len(lines) // CAPTIONS, CAPTIONS)
            for number, one in enumerate(ids[: VALIDATION if split == "validation" else None]):
                captions = tuple(lines[number * CAPTIONS : (number + 1) * CAPTIONS])
                if one not in mapping:
                    raise UserError(f"{folder}/id_mapping.json has no picture for the image {one!r} of {file}_ids.txt.")
                yield Row(os.path.join(root, mapping[one]), captions, 0, one, split)

    return RowTable.from_rows(name, rows(), label_kind="image", check_images=options.check_images)


def _mapping_beside(precomp: str) -> str:
    return os.path.join(os.path.dirname(precomp), "id_mapping.json")


def picture_paths(pictures: str, folder: str, ids: Sequence[str], root: str = "") -> list[str] | None:
    """The photographs of image ids by `id_mapping.json` in the folder or above it; None where they are not there.

    Raises:
        UserError: the mapping is damaged or lacks an id.
    """
    for place in (folder, os.path.dirname(folder)):
        mapping, images = os.path.join(place, "id_mapping.json"), root or os.path.join(place, pictures)
        if os.path.isfile(mapping) and os.path.isdir(images):
            names = read_mapping(mapping)
            if missing := next((name for name in ids if name not in names), None):
                raise UserError(f"{mapping} has no picture for the image {missing!r} of {folder}.")
            return [os.path.join(images, names[name]) for name in ids]
    return None


def read_mapping(path: str) -> dict[str, str]:
    """The path of the picture of each image id; UserError where the file holds something else."""
    try:
        with open(path, encoding="utf-8") as file:
            names = json.load(file)
        return {str(name): os.fspath(picture) for name, picture in names.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path} cannot be read as JSON from image id to picture ({error}).") from error


def read_captions(folder: str, file: str, vocabulary: str = "") -> list[str]:
    """The captions of a split, in order, from `{file}_caps.txt`, else with a vocabulary from `{file}_precaps.txt`.

    Args:
        folder: of the files.
        file: name of the split.
        vocabulary: JSON of the words that `precaps` numbers.

    Raises:
        UserError: neither can be read, a caption is empty, or an id has no word.
    """
    path = os.path.join(folder, f"{file}_caps.txt")
    if os.path.isfile(path) or not vocabulary:
        return read_lines(path)
    path = os.path.join(folder, f"{file}_precaps.txt")
    words = [*SPECIAL, *read_vocabulary(vocabulary)]
    return [_sentence(line, words, f"{path} line {number}") for number, line in enumerate(read_lines(path), start=1)]


def read_lines(path: str) -> list[str]:
    """The lines of a text file without white space around them; UserError where one is empty or it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error}).") from error
    if not all(lines):
        raise UserError(f"{path} line {lines.index('') + 1} is empty; give every line its text.")
    return lines


def _folder(layout: Layout, options: SourceOptions) -> str:
    places = [os.path.join(options.root, folder) for folder in layout.folders]
    return next((place for place in places if os.path.isdir(place)), places[0])


def _is_there(folder: str, file: str) -> bool:
    """Whether anything of a split is there; what is missing of it then is a mistake."""
    return any(os.path.exists(os.path.join(folder, f"{file}_{end}")) for end in ("ims.npy", "caps.txt", "precaps.txt"))


def _first(folder: str, files: Sequence[str]) -> str:
    return next((file for file in files if _is_there(folder, file)), files[0])


def _read(layout: Layout, options: SourceOptions, folder: str, file: str, most: int) -> _Part:
    path = os.path.join(folder, f"{file}_ims.npy")
    texts = [f"{file}_caps.txt", f"{file}_precaps.txt"]
    if not any(os.path.isfile(os.path.join(folder, text)) for text in texts):
        raise UserError(f"{folder} has {file}_ims.npy, but neither {texts[0]} nor {texts[1]}; add the captions.")
    if not os.path.isfile(path):
        raise UserError(f"{folder} has the captions of {file}, but no {file}_ims.npy (from {layout.page}); add it.")
    regions = _mapped(path, (3,), "regions, (images, regions, d)")
    named = options.vocabulary or layout.vocabulary
    vocabulary = find_vocabulary(named, options.root) if named else ""
    lines = read_captions(folder, file, vocabulary)
    count, step = _captions_an_image(layout.captions, len(lines), regions, path)
    images = len(lines) // count
    captions = [tuple(lines[start : start + count]) for start in range(0, len(lines), count)]
    ids = read_ids(folder, file, images, count)
    rows = np.arange(images) * step
    kept = slice(most or None)
    return _Part(captions[kept], ids[kept], rows[kept], regions, _corners(folder, file, len(regions), regions.shape[1]))


def _captions_an_image(expected: int, lines: int, regions: np.ndarray, path: str) -> tuple[int, int]:
    """How many captions an image has, and how often it is repeated among the regions."""
    images = len(regions)
    repeated = images == lines >= CAPTIONS and np.array_equal(regions[0], regions[CAPTIONS - 1])
    count = expected or (CAPTIONS if repeated else max(1, lines // max(1, images)))
    if not lines or not images or lines % count or images not in (lines, lines // count):
        raise UserError(
            f"{path} holds the regions of {images} images beside {lines} captions; expected {count} captions an image, "
            "and each image once or once for each of its captions."
        )
    if images != lines or count == 1:
        return count, 1
    if repeated:
        return count, count
    raise UserError(
        f"{path} has an image for each of the {lines} captions, but does not repeat one {count} times; give {count} "
        "captions of each image in a row."
    )


def read_ids(folder: str, file: str, images: int, count: int) -> list[str]:
    """The names of the images of a split, from `{file}_ids.txt` or numbered; UserError where their number is wrong."""
    path = os.path.join(folder, f"{file}_ids.txt")
    if not os.path.isfile(path):
        return [f"{file}-{number:06d}" for number in range(images)]
    ids = read_lines(path)
    if len(ids) not in (images, images * count):
        raise UserError(f"{path} holds {len(ids)} ids for {images} images of {count} captions; give each image one.")
    return ids if len(ids) == images else ids[::count]


def _mapped(path: str, ranks: tuple[int, ...], what: str) -> np.ndarray:
    """A file's numbers where they lie."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read as {what}: {error}.") from error
    if array.ndim not in ranks or array.dtype.kind not in "fiu" or 0 in array.shape[1:]:
        raise UserError(f"{path} has shape {array.shape} and type {array.dtype}; expected {what}, of numbers.")
    return array


def _corners(folder: str, file: str, images: int, regions: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and sizes of a split, row by row beside its regions; NaN, which takes no memory, where there are none."""
    none = np.broadcast_to(np.float32(np.nan), (images, regions, 4)), np.broadcast_to(np.float32(1), (images, 2))
    for corners, sizes in (("boxes", "img_sizes"), ("ims_bbx", "ims_size")):
        paths = [os.path.join(folder, f"{file}_{name}.npy") for name in (corners, sizes)]
        if not all(map(os.path.isfile, paths)):
            continue
        if _is_pickle(paths[1]):
            logging.warning(
                "%s is a pickle, which can run code, and is not read: no boxes are drawn until it is saved as %s, an "
                "array of width and height, (images, 2).", paths[1], f"{file}_{sizes}.npy",
            )  # fmt: skip
            continue
        found = _mapped(paths[0], (3,), "boxes, (images, regions, 4)"), _mapped(paths[1], (2,), "sizes, (images, 2)")
        wanted = [part.shape for part in none]
        have = [part.shape for part in found]
        if have != wanted:
            raise UserError(f"{paths[0]} and {os.path.basename(paths[1])} have the shapes {have}; expected {wanted}.")
        return found
    return none


def _is_pickle(path: str) -> bool:
    with open(path, "rb") as file:
        try:
            np.lib.format.read_magic(file)
            return bool(np.lib.format.read_array_header_1_0(file)[2].hasobject)
        except ValueError:
            return True  # not even an array: pickled by NumPy's `dump`, or damaged


def _boxes(parts: list[tuple[np.ndarray, np.ndarray]]) -> Boxes | None:
    """Those of all splits, None where no split has any."""
    if not any(np.isfinite(corners[:1]).all() for corners, _ in parts):
        return None
    kinds = [np.result_type(*(part[side].dtype for part in parts)) for side in (0, 1)]
    corners, sizes = (
        stacked(*(part[side].astype(kind, copy=False) for part in parts)) for side, kind in enumerate(kinds)
    )
    return Boxes(corners, sizes)


def _check_alike(folder: str, regions: dict[str, np.ndarray]) -> None:
    (first, one), *others = regions.items()
    for name, other in others:
        if (one.shape[1:], one.dtype) != (other.shape[1:], other.dtype):
            raise UserError(
                f"{folder} has {_told(one)} in {first}_ims.npy and {_told(other)} in {name}_ims.npy; make them alike."
            )


def _told(regions: np.ndarray) -> str:
    return f"{regions.shape[1]} regions of {regions.shape[2]} {regions.dtype} numbers"


def _check_distinct(folder: str, ids: list[str]) -> None:
    known: set[str] = set()
    for name in ids:
        if name in known:
            raise UserError(f"The image {name!r} is there twice in the *_ids.txt of {folder}; give each its own id.")
        known.add(name)


def _sentence(line: str, words: list[str], place: str) -> str:
    """The words of ids with commas, without those that begin and end a caption, which tokenizers add."""
    try:
        ids = [int(number) for number in line.split(",")]
        if min(ids) < 0:
            raise IndexError
        found = [words[number] for number in ids if words[number] not in SPECIAL[:3]]
    except (ValueError, IndexError) as error:
        raise UserError(
            f"{place}: {line[:40]!r} are not ids with commas of the vocabulary's {len(words)} words."
        ) from error
    return " ".join(_UNKNOWN if word == SPECIAL[3] else word for word in found)
