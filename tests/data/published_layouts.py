"""Writes small sets in the layouts in which CUB, cars, products, CUHK-PEDES, Flickr and COCO are published."""

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
