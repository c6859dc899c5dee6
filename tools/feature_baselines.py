"""Baselines on feature pairs: CCA, regularised and kernel CCA, PLS, and semantic matching by two classifiers.

Everything that is open is chosen by the mean mAP on a validation part of the training split; the choice is then
fitted on the whole training split and measured on the test split, once.

    python -m tools.feature_baselines --data_dir=DIR [--source=wikipedia] [--text_features=tfidf] [--json=out.json]
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.cross_decomposition import PLSCanonical
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from xmkeras.data.rows import RowTable
from xmkeras.data.sources import SourceOptions, load_source
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.measured import Split
from xmkeras.retrieval.protocols import load_protocol

Settings = dict[str, Any]
COLUMNS = ("image_to_text/mAP", "text_to_image/mAP", "mAP", "image_to_text/mAP@50", "text_to_image/mAP@50", "mAP@50")


class Part(NamedTuple):
    """Pairs: image vectors (n, f), text vectors (n, t), labels (n,), and names."""

    images: np.ndarray
    texts: np.ndarray
    labels: np.ndarray
    ids: np.ndarray

    @classmethod
    def of(cls, table: RowTable) -> Part:
        assert table.features is not None
        assert table.text_features is not None
        images, texts = table.features[table.image_index], table.text_features[table.text_index]
        return cls(images.astype(np.float64), texts.astype(np.float64), table.labels, np.array(table.image_ids))


# Fits on the first part and embeds the second: images (n, d) and texts (n, d), to be ranked by the cosine.
Baseline = Callable[[Part, Part, Settings], tuple[np.ndarray, np.ndarray]]


def scaled(train: np.ndarray, other: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """Both with the statistics of the first: "none", "standardize", "sqrt" (Hellinger), or both."""
    if "sqrt" in how:
        train, other = np.sqrt(np.maximum(train, 0)), np.sqrt(np.maximum(other, 0))
    if "standardize" not in how:
        return train, other
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(other)


def cca(train: Part, other: Part, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Canonical correlation analysis; a ridge in units of the mean variance, 0 for the plain one."""
    images, asked_images = scaled(train.images, other.images, settings.get("scale", "standardize"))
    texts, asked_texts = scaled(train.texts, other.texts, settings.get("scale", "standardize"))
    whiten = [_whitening(side.T @ side / len(side), settings.get("ridge", 0.0)) for side in (images, texts)]
    left, strength, right = np.linalg.svd(whiten[0].T @ (images.T @ texts / len(images)) @ whiten[1])
    size = min(settings["dimension"], len(strength))
    weight = strength[:size] ** settings.get("power", 0.0)
    return asked_images @ whiten[0] @ left[:, :size] * weight, asked_texts @ whiten[1] @ right[:size].T * weight


def kernel_cca(train: Part, other: Part, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """CCA with a ridge between the kernel principal components of RBF kernels."""
    from sklearn.decomposition import KernelPCA

    sides = []
    for fitted, asked in ((train.images, other.images), (train.texts, other.texts)):
        known, new = scaled(fitted, asked, "standardize")
        gamma = settings["gamma"] / known.shape[1]
        kernel = KernelPCA(settings["components"], kernel="rbf", gamma=gamma, eigen_solver="randomized", random_state=0)
        sides.append((kernel.fit_transform(known), kernel.transform(new)))
    (images, asked_images), (texts, asked_texts) = sides
    return cca(
        Part(images, texts, train.labels, train.ids),
        Part(asked_images, asked_texts, other.labels, other.ids),
        {**settings, "scale": "none"},
    )


def pls(train: Part, other: Part, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Canonical partial least squares."""
    model = PLSCanonical(n_components=settings["dimension"], max_iter=2000).fit(train.images, train.texts)
    projected: tuple[np.ndarray, np.ndarray] = model.transform(other.images, other.texts)
    return projected


def semantic_matching(train: Part, other: Part, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities of a classifier for each modality (Rasiwasia et al. 2010).

    `settings["compared"]`: "cosine" of the probabilities (the default), "centred", the cosine of what they are less
    their mean over the classes, or "agreement", the probability that both items are of one class.
    """
    probabilities = []
    for fitted, asked in ((train.images, other.images), (train.texts, other.texts)):
        known, new = scaled(fitted, asked, settings["scale"])
        model = _classifier(settings).fit(known, train.labels)
        probabilities.append(model.predict_proba(new))
    images, texts = probabilities
    if settings.get("compared") == "centred":
        return images - images.mean(axis=1, keepdims=True), texts - texts.mean(axis=1, keepdims=True)
    return agreeing(images, texts) if settings.get("compared") == "agreement" else (images, texts)


def agreeing(images: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (n, C + 2) whose cosine across the modalities is the inner product of probabilities (n, C)."""
    rests = [np.sqrt(np.maximum(1 - np.square(side).sum(axis=1), 0)) for side in (images, texts)]
    none = np.zeros(len(images))
    return np.column_stack([images, rests[0], none]), np.column_stack([texts, none, rests[1]])


def _classifier(settings: Settings) -> Any:
    if settings["classifier"] == "logistic":
        return LogisticRegression(C=settings["C"], max_iter=2000)
    # Platt's scaling inside libsvm, as the published figures have it; calibration of each class by itself is far worse.
    return SVC(C=settings["C"], gamma="scale", probability=True, random_state=0)


def _whitening(covariance: np.ndarray, ridge: float) -> np.ndarray:
    """(f, r): maps to unit variance, without the directions that have none."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-8 * values.max()
    return vectors[:, kept] / np.sqrt(values[kept] + ridge * values.mean())


def grid(**choices: Sequence[Any]) -> list[Settings]:
    """Every combination of the choices."""

    def combine(names: list[str]) -> Iterator[Settings]:
        if not names:
            yield {}
            return
        for value in choices[names[0]]:
            for rest in combine(names[1:]):
                yield {names[0]: value, **rest}

    return list(combine(list(choices)))


def baselines(train: Part) -> dict[str, tuple[Baseline, list[Settings]]]:
    """The rows of the table: a baseline and what is open about it."""
    most = min(train.images.shape[1], train.texts.shape[1])
    dimensions = sorted({size for size in (5, 7, 9, 20, 50) if size <= most} or {most})
    scales = ["none", "standardize", "sqrt"]
    return {
        "CCA": (cca, grid(dimension=dimensions)),
        "regularised CCA": (cca, grid(dimension=dimensions, ridge=[0.1, 1.0, 10.0], power=[0.0, 1.0])),
        "kernel CCA": (
            kernel_cca,
            grid(gamma=[0.3, 1.0], components=[200], dimension=dimensions, ridge=[1.0, 10.0], power=[0.0, 1.0]),
        ),
        "PLS": (pls, grid(dimension=dimensions)),
        "semantic matching, logistic": (
            semantic_matching,
            grid(classifier=["logistic"], scale=[*scales, "sqrt, standardize"], C=[0.01, 0.1, 1.0, 10.0]),
        ),
        "semantic matching, RBF-SVM": (semantic_matching, grid(classifier=["svm"], scale=scales, C=[1.0, 10.0])),
        "the same, centred": (
            semantic_matching, grid(classifier=["svm"], scale=scales, C=[1.0, 10.0], compared=["centred"]),
        ),
        "the same, agreement": (
            semantic_matching, grid(classifier=["svm"], scale=scales, C=[1.0, 10.0], compared=["agreement"]),
        ),
    }  # fmt: skip


def measure(images: np.ndarray, texts: np.ndarray, part: Part) -> dict[str, float]:
    """The figures of `COLUMNS`, in percent, by the cosine."""
    sides = [EmbeddingSet(part.ids, part.labels, np.asarray(side, np.float32)) for side in (images, texts)]
    measured = load_protocol("vectors").measure(Split(sides[0], sides[1], [], label_kind="class"))
    return {name: measured.results[name] for name in COLUMNS}


def choose(baseline: Baseline, candidates: Sequence[Settings], train: Part, validation: Part) -> Settings:
    """The settings with the greatest mean mAP on validation; the first of equal ones."""
    if len(candidates) == 1:
        return candidates[0]
    scores = [measure(*baseline(train, validation, one), validation)["mAP"] for one in candidates]
    return candidates[int(np.argmax(scores))]


def run(table: RowTable, names: Sequence[str] = ()) -> Iterator[tuple[str, Settings, dict[str, float]]]:
    """Chooses, fits on all of training and validation, and measures on test: name, settings and figures of each row."""
    train, validation, test = (Part.of(table.split(name)) for name in ("train", "validation", "test"))
    whole = Part(*(np.concatenate(columns) for columns in zip(train, validation, strict=True)))
    for name, (baseline, candidates) in baselines(train).items():
        if names and name not in names:
            continue
        settings = choose(baseline, candidates, train, validation)
        yield name, settings, measure(*baseline(whole, test, settings), test)


def format_row(name: str, figures: Mapping[str, float], note: str = "") -> str:
    """A row of the Markdown table, shares of 1 as papers print them."""
    return "| " + " | ".join([name, *(f".{round(10 * figures[column]):03d}" for column in COLUMNS), note]) + " |"


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it as JSON on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("source", "wikipedia"), ("data_dir", ""), ("image_features", ""), ("text_features", ""),
                        ("table", ""), ("json", "")):  # fmt: skip
        parser.add_argument(f"--{name}", default=value)
    parser.add_argument("--only", action="append", default=[], help="name of a baseline; repeatable")
    warnings.filterwarnings("ignore", "The `probability` parameter", FutureWarning)
    given = vars(parser.parse_args(argv))
    out, only, source = given.pop("json"), given.pop("only"), given.pop("source")
    options = SourceOptions(**{name: value for name, value in given.items() if value})
    print("| | image query @all | text query @all | mean | image query @50 | text query @50 | mean | chosen |")
    print("|---|---|---|---|---|---|---|---|")
    rows = {}
    for name, settings, figures in run(load_source(source, options), only):
        rows[name] = {"settings": settings, "figures": figures}
        print(format_row(name, figures, ", ".join(f"{key} {value}" for key, value in settings.items())), flush=True)
    if out:
        with open(out, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
