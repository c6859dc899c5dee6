"""Writes small sets in the layouts in which CUB, cars, products, CUHK-PEDES, Flickr, COCO and regions are published."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
from PIL import Image

SPECIES = {
    "train": ("001.Black_footed_Albatross", "002.Laysan_Albatross"),
    "val": ("003.Sooty_Albatross",),
    "test": ("004.Groove_billed_Ani",),
}


def write_picture(path: pathlib.Path, seed: int) -> None:
    """An image file of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 8), (seed * 37 % 256, seed * 91 % 256, 128)).save(path)


def write_cub(data_dir: pathlib.Path, images_per_class: int = 3) -> pathlib.Path:
    """`data_dir/cub`: Caltech's folder, and Reed's as his archive unpacks; one class more than his lists have."""
    folder = data_dir / "cub"
    lines = []
    for split, classes in (*SPECIES.items(), ("", ("005.Crested_Auklet",))):
        for name in classes:
            texts = folder / "cvpr2016_cub" / "text_c10" / name
            texts.mkdir(parents=True)
            (texts.parent / f"{name}.h5").touch()  # his archive holds the captions as numbers, too
            for number in range(images_per_class):
                image = f"{name[4:]}_{number:04d}_{len(lines)}"
                lines.append(f"{len(lines) + 1} {name}/{image}.jpg\n")
                write_picture(folder / "CUB_200_2011" / "images" / name / f"{image}.jpg", len(lines))
                (texts / f"{image}.txt").write_text("".join(f"this bird is bird {n} of {name} .\n" for n in range(10)))
        if split:
            (folder / "cvpr2016_cub" / f"{split}classes.txt").write_text("".join(f"{name}\n" for name in classes))
    (folder / "CUB_200_2011" / "images.txt").write_text("".join(lines))
    return folder


def write_cars(data_dir: pathlib.Path, classes: tuple[int, ...] = (1, 2, 98, 99, 196)) -> pathlib.Path:
    """`data_dir/cars196`: two pictures of each class, and the list of them."""
    import scipy.io

    folder = data_dir / "cars196"
    kind = [("relative_im_path", object), ("bbox_x1", object), ("class", object), ("test", object)]
    records = np.zeros((1, 2 * len(classes)), kind)
    for number, label in enumerate(sorted(classes * 2)):
        path = f"car_ims/{number + 1:06d}.jpg"
        write_picture(folder / path, number)
        records[0, number] = (path, 1, label, number % 2)
    scipy.io.savemat(folder / "cars_annos.mat", {"annotations": records})
    return folder


def write_online_products(data_dir: pathlib.Path) -> pathlib.Path:
    """`data_dir/Stanford_Online_Products`: four products for training and two for testing, two pictures each."""
    folder = data_dir / "Stanford_Online_Products"
    folder.mkdir(parents=True)
    number = 0
    for name, products in (("train", (1, 2, 3, 4)), ("test", (11319, 11320))):
        lines = ["image_id class_id super_class_id path\n"]
        for product in products:
            for picture in range(2):
                number += 1
                path = f"{('bicycle', 'chair')[product % 2]}_final/{100 + product}_{picture}.JPG"
                write_picture(folder / path, number)
                lines.append(f"{number} {product} {product % 2 + 1} {path}\n")
        (folder / f"Ebay_{name}.txt").write_text("".join(lines))
    return folder


def write_cuhk_pedes(data_dir: pathlib.Path) -> pathlib.Path:
    """`data_dir/CUHK-PEDES`: four people with two pictures each, the first two of them for training."""
    folder = data_dir / "CUHK-PEDES"
    records = []
    for number, (person, split) in enumerate([(1, "train"), (2, "train"), (11004, "val"), (12004, "test")] * 2):
        file = f"{('CUHK01', 'cam_a', 'Market', 'train_query')[number % 4]}/{person:04d}_{number}.png"
        write_picture(folder / "imgs" / file, number)
        captions = [f"The man {person} wears a hat. ", f"A person, seen for time {number}."]
        tokens = [["<START>", *caption.split(), "<END>"] for caption in captions]
        records.append(
            {"id": person, "captions": captions, "split": split, "processed_tokens": tokens, "file_path": file}
        )
    (folder / "reid_raw.json").write_text(json.dumps(records))
    return folder


def write_karpathy(
    data_dir: pathlib.Path, name: str, files: dict[str, list[str]], *, images: str = "", filepath: bool = False
) -> pathlib.Path:
    """`data_dir/NAME`: `dataset_NAME.json` and its images.

    Args:
        data_dir: what goes into --data_dir.
        name: of the set.
        files: of each split as it is written, "restval" for example; with `filepath`, each begins with its folder.
        images: folder of the files.
        filepath: the folder of a file is a field of its own, as in COCO.
    """
    folder = data_dir / name
    records: list[dict[str, Any]] = []
    for split, paths in files.items():
        for path in paths:
            write_picture(folder / images / path, len(records))
            place, _, file = path.rpartition("/")
            sentences = [
                {"tokens": ["a", "dog", str(n)], "raw": f"A dog, {n}. ", "imgid": len(records), "sentid": n}
                for n in range(5)
            ]
            record = {"imgid": len(records), "sentences": sentences, "split": split, "filename": file}
            records.append(record | ({"filepath": place} if filepath else {}))
    (folder / f"dataset_{name}.json").write_text(json.dumps({"images": records, "dataset": name}))
    return folder


SPLIT_SIZES = {"train": 6, "dev": 4, "test": 3}


def write_regions(
    data_dir: pathlib.Path,
    folder: str = "f30k_precomp",
    sizes: dict[str, int] = SPLIT_SIZES,
    *,
    shape: tuple[int, int] = (3, 4),
    repeated: tuple[str, ...] = ("dev", "test", "testall"),
    ids: bool = True,
    boxes: str = "",
    captions: int = 5,
) -> pathlib.Path:
    """`data_dir/FOLDER`: regions of each split, the same for each seed, where number 0 of an image's is its own number.

    Args:
        data_dir: what goes into --data_dir.
        folder: below it.
        sizes: images of each split.
        shape: regions of an image, and numbers of a region.
        repeated: splits whose images stand there once for each caption.
        ids: write `{split}_ids.txt`.
        boxes: "boxes" or "ims_bbx" for the two ways in which they are published; "" for none.
        captions: of an image.
    """
    place, first = data_dir / folder, 0
    place.mkdir(parents=True, exist_ok=True)
    for split, images in sizes.items():
        numbers = np.arange(first, first + images)
        regions = np.random.default_rng(first).normal(size=(images, *shape)).astype(np.float32)
        regions[:, 0, 0] = numbers
        times = captions if split in repeated else 1
        np.save(place / f"{split}_ims.npy", np.repeat(regions, times, axis=0))
        lines = [f"A {_COLOURS[n % 8]} dog 's image {n} , {c} .\n" for n in numbers for c in range(captions)]
        (place / f"{split}_caps.txt").write_text("".join(lines))
        if ids:
            (place / f"{split}_ids.txt").write_text("".join(f"{1000 + n}\n" for n in np.repeat(numbers, times)))
        if boxes:
            _write_boxes(place, split, images * times, shape[0], boxes)
        first += images
    return place


def write_vocabulary(data_dir: pathlib.Path, name: str = "f30k_precomp") -> list[str]:
    """`data_dir/vocab/NAME_vocab.json`, in no order of ids; returns the words from id 4 on."""
    words = ["dog", "a", *_COLOURS[:4], ".", "image", "'s"]
    ids = {word: number for number, word in enumerate(["<pad>", "<start>", "<end>", "<unk>", *words])}
    path = data_dir / "vocab" / f"{name}_vocab.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    shuffled = {word: ids[word] for word in sorted(ids)}
    by_id = {str(number): word for word, number in shuffled.items()}
    path.write_text(json.dumps({"word2idx": shuffled, "idx2word": by_id, "idx": len(ids)}))
    return words


def write_precaps(place: pathlib.Path, splits: tuple[str, ...] = tuple(SPLIT_SIZES)) -> None:
    """BFAN's captions in place of the others: ids of `write_vocabulary` between start and end, one unknown."""
    for split in splits:
        count = len((place / f"{split}_caps.txt").read_text().splitlines())
        (place / f"{split}_precaps.txt").write_text("".join(f"1,5,{6 + n % 4},4,12,3,2\n" for n in range(count)))
        (place / f"{split}_caps.txt").unlink()


def write_mapped_pictures(data_dir: pathlib.Path, folder: str = "f30k", pictures: str = "flickr30k-images") -> None:
    """`data_dir/FOLDER`: photographs by `id_mapping.json`, their texts and regions in `precomp` (VSE-infinity)."""
    place = write_regions(data_dir / folder, "precomp")
    lines = [line for split in SPLIT_SIZES for line in (place / f"{split}_ids.txt").read_text().split()]
    mapping = {one: f"part/{one}.png" for one in lines}
    for number, file in enumerate(mapping.values()):
        write_picture(data_dir / folder / pictures / file, number)
    (data_dir / folder / "id_mapping.json").write_text(json.dumps(mapping))


_COLOURS = ("red", "blue", "green", "black", "white", "brown", "pink", "grey")


def _write_boxes(place: pathlib.Path, split: str, rows: int, regions: int, kind: str) -> None:
    corners = np.tile(np.float32([10, 20, 50, 60]), (rows, regions, 1)) + np.arange(regions, dtype=np.float32)[:, None]
    np.save(place / f"{split}_{kind}.npy", corners)
    if kind == "boxes":
        np.save(place / f"{split}_img_sizes.npy", np.tile([100, 200], (rows, 1)))
    else:  # dictionaries, which NumPy pickles
        np.save(place / f"{split}_ims_size.npy", np.array([{"image_w": 100, "image_h": 200}] * rows), allow_pickle=True)
