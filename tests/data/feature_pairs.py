"""Small sets of feature pairs in the layouts of the sources."""

from __future__ import annotations

import pathlib

import numpy as np
import scipy.io


def vectors(labels: np.ndarray, image_width: int = 8, text_width: int = 6, seed: int = 0):
    """Non-negative image and text vectors that tell the classes apart, float64 (n, f) and (n, t)."""
    centres = np.random.default_rng(99)
    image_centres, text_centres = centres.uniform(0, 2, (20, image_width)), centres.uniform(0, 2, (20, text_width))
    noise = np.random.default_rng(seed)
    images = image_centres[labels] + noise.uniform(0, 0.3, (len(labels), image_width))
    return images, text_centres[labels] + noise.uniform(0, 0.3, (len(labels), text_width))


def write_wikipedia(root: pathlib.Path, train: int = 30, test: int = 12, classes: int = 3) -> pathlib.Path:
    """Writes `wikipedia/` as published and returns its folder."""
    folder = root / "wikipedia"
    folder.mkdir(parents=True, exist_ok=True)
    arrays, words = {}, {}
    parts = (("tr", "trainset_txt_img_cat.list", train), ("te", "testset_txt_img_cat.list", test))
    for number, (part, name, count) in enumerate(parts):
        labels = np.arange(count) % classes
        arrays[f"I_{part}"], arrays[f"T_{part}"] = vectors(labels, seed=number)
        words[f"T_tfidf_{part}"] = vectors(labels, text_width=9, seed=10 + number)[1]
        lines = [f"text{part}{row}\timage{part}{row}\t{label + 1}\n" for row, label in enumerate(labels)]
        (folder / name).write_text("".join(lines))
    scipy.io.savemat(folder / "raw_features.mat", arrays)
    scipy.io.savemat(folder / "raw_features_with_tfidf1000.mat", {**arrays, **words})
    (folder / "categories.list").write_text("".join(f"class{number}\n" for number in range(classes)))
    return folder


def write_folder(root: pathlib.Path, name: str, counts: dict[str, int], *, one_hot: bool = False) -> pathlib.Path:
    """Writes a folder of matrices in the layout of the DSCMR release: split -> number of rows."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, (split, count) in enumerate(counts.items()):
        labels = np.arange(count) % 4
        images, texts = vectors(labels, seed=number)
        numbers = np.eye(4)[labels] if one_hot else labels[:, None] + 1
        for kind, matrix in (("img", images), ("txt", texts), ("img_lab", numbers)):
            scipy.io.savemat(folder / f"{split}_{kind}.mat", {f"{split}_{kind}": matrix})
    return folder


def write_npz(path: pathlib.Path, count: int = 24, classes: int = 4) -> pathlib.Path:
    """Writes one file of pairs with splits, a third of the rows each."""
    labels = np.arange(count) % classes
    images, texts = vectors(labels)
    splits = np.repeat(["train", "val", "test"], count // 3)
    names = np.array([f"pair{row}" for row in range(count)])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, image=images, text=texts, label=labels, split=splits, image_id=names)
    return path
