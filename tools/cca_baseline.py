"""The linear baseline: regularised CCA between frozen image features and tf-idf words.

Canonical correlation analysis (Hotelling 1936; regularised as Vinod 1976) is the most that two linear maps of
frozen features can agree; a trained model has to beat it to be worth its training. Everything that can be set
(ridges, dimension, weight of the correlations, words kept ...) is chosen on the validation split only.

    python -m tools.cca_baseline --table=pairs.jsonl --weights=mobilenet_notop.weights.h5 [--json=out.json]
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from tools.cca_features import Photographs, load_photographs

RECALL_AT = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class Settings:
    """One choice of everything that the baseline leaves open.

    Ridges are in units of the mean variance of a feature, so that they mean the same on both sides.
    """

    image_ridge: float = 1.0
    text_ridge: float = 1.0
    dimension: int = 128
    power: float = 1.0
    captions: str = "separate"
    min_count: int = 1


@dataclass(frozen=True, slots=True)
class Cca:
    """Two linear maps into one space, strongest canonical direction first.

    Attributes:
        image_mean, text_mean: (f,) and (w,), taken off before the maps.
        image_map, text_map: (f, d) and (w, d).
        correlations: (d,) of the paired rows it was fitted on, descending.
    """

    image_mean: np.ndarray
    image_map: np.ndarray
    text_mean: np.ndarray
    text_map: np.ndarray
    correlations: np.ndarray

    def similarity(self, images: np.ndarray, texts: np.ndarray, dimension: int, power: float) -> np.ndarray:
        """Cosine of texts (q, w) and images (g, f), directions weighted by correlation ** power: (q, g)."""
        weight = np.maximum(self.correlations[:dimension], 0.0) ** power
        left = (texts - self.text_mean) @ self.text_map[:, :dimension] * weight
        right = (images - self.image_mean) @ self.image_map[:, :dimension] * weight
        return _unit_rows(left) @ _unit_rows(right).T


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Centred rows as a thin SVD, rows = left * values @ right: what every ridge of a grid can share."""

    mean: np.ndarray
    left: np.ndarray
    values: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Spectrum:
        """Decomposes rows (n, f), n >= 2; directions without variance are dropped."""
        mean = rows.mean(axis=0)
        left, values, right = np.linalg.svd(rows - mean, full_matrices=False)
        kept = values > 1e-6 * values[0]
        return cls(mean, left[:, kept], values[kept], right[kept])

    def whitening(self, ridge: float) -> np.ndarray:
        """1 / sqrt(variance + ridge * mean variance) of each direction: (r,)."""
        variance = self.values**2 / len(self.left)
        return 1.0 / np.sqrt(variance + ridge * variance.sum() / self.right.shape[1])


def fit_cca(images: np.ndarray, texts: np.ndarray, image_ridge: float, text_ridge: float) -> Cca:
    """Regularised CCA of paired rows images (n, f) and texts (n, w); ridges as in `Settings`."""
    left, right = Spectrum.of(images), Spectrum.of(texts)
    return solve(left, right, left.left.T @ right.left, image_ridge, text_ridge)


def solve(images: Spectrum, texts: Spectrum, cross: np.ndarray, image_ridge: float, text_ridge: float) -> Cca:
    """CCA from two spectra of the same n rows and cross = images.left.T @ texts.left."""
    image_white, text_white = images.whitening(image_ridge), texts.whitening(text_ridge)
    scaled = (image_white * images.values)[:, None] * cross * (text_white * texts.values) / len(images.left)
    image_basis, correlations, text_basis = np.linalg.svd(scaled, full_matrices=False)
    return Cca(
        images.mean,
        images.right.T @ (image_white[:, None] * image_basis),
        texts.mean,
        texts.right.T @ (text_white[:, None] * text_basis.T),
        correlations,
    )


def recalls(similarity: np.ndarray, image_of_text: np.ndarray) -> dict[str, float]:
    """R@1/5/10 both ways in percent and their sum, from scores (q, g) and the image of each text (q,).

    Ties count against the model. An image is found when any of its captions is; every image needs a caption.
    """
    own = similarity[np.arange(len(similarity)), image_of_text]
    text_rank = (similarity >= own[:, None]).sum(axis=1) - 1
    image_rank = [
        (column[image_of_text != image] >= column[image_of_text == image].max()).sum()
        for image, column in enumerate(similarity.T)
    ]
    found = {
        f"{direction}/R@{k}": 100.0 * float(np.mean(np.asarray(rank) < k))
        for direction, rank in (("text_to_image", text_rank), ("image_to_text", image_rank))
        for k in RECALL_AT
    }
    return found | {"rsum": sum(found.values())}


@dataclass(frozen=True, slots=True)
class Baseline:
    """A fitted CCA with its words and the settings that won."""

    settings: Settings
    words: TfidfVectorizer
    cca: Cca
    validation: Mapping[str, float]

    def similarity(self, photographs: Photographs) -> np.ndarray:
        """Scores of all captions (in order of their images) against all images: (q, g)."""
        texts = self.words.transform(photographs.all_captions).toarray()
        return self.cca.similarity(photographs.features, texts, self.settings.dimension, self.settings.power)


def choose(
    train: Photographs,
    validation: Photographs,
    *,
    ridges: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
    dimensions: Sequence[int] = (32, 64, 128, 256, 512),
    powers: Sequence[float] = (0.0, 0.5, 1.0, 2.0),
    captions: Sequence[str] = ("separate", "averaged"),
    min_counts: Sequence[int] = (1, 2),
) -> Baseline:
    """Fits on train, keeps what has the highest rsum on validation (equal ones: mean reciprocal rank)."""
    best: tuple[tuple[float, float], Baseline] | None = None
    for use, min_count in itertools.product(captions, min_counts):
        words = TfidfVectorizer(sublinear_tf=True, min_df=min_count, token_pattern=r"(?u)\b\w+\b")
        texts = words.fit_transform(train.all_captions).toarray()
        queries = words.transform(validation.all_captions).toarray()
        images, texts = _pair_up(train, texts, use)
        left, right = Spectrum.of(images), Spectrum.of(texts)
        cross = left.left.T @ right.left
        for image_ridge, text_ridge in itertools.product(ridges, ridges):
            cca = solve(left, right, cross, image_ridge, text_ridge)
            for dimension, power in itertools.product(dimensions, powers):
                settings = Settings(image_ridge, text_ridge, dimension, power, use, min_count)
                scores = cca.similarity(validation.features, queries, dimension, power)
                found = recalls(scores, validation.image_of_text)
                key = (found["rsum"], _reciprocal_rank(scores, validation.image_of_text))
                if best is None or key > best[0]:
                    best = key, Baseline(settings, words, cca, found)
    if best is None:
        raise ValueError("the grid is empty")
    return best[1]


def _pair_up(train: Photographs, texts: np.ndarray, use: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows to correlate: every caption with its image, or every image with the mean of its captions."""
    if use == "separate":
        return train.features[train.image_of_text], texts
    sums = np.zeros((len(train.features), texts.shape[1]))
    np.add.at(sums, train.image_of_text, texts)
    return train.features, sums / np.bincount(train.image_of_text)[:, None]


def _reciprocal_rank(similarity: np.ndarray, image_of_text: np.ndarray) -> float:
    own = similarity[np.arange(len(similarity)), image_of_text]
    return float(np.mean(1.0 / (similarity >= own[:, None]).sum(axis=1)))


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def main(arguments: Iterable[str] | None = None) -> dict[str, Any]:
    """Prints the chosen settings and the recalls of the asked split, and writes them as JSON on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--table", required=True, help="JSON lines or CSV file with image, captions, split")
    parser.add_argument("--image_root", default="", help="folder of the images; default: the table's")
    parser.add_argument("--weights", required=True, help="MobileNet v1 weights without top, or imagenet")
    parser.add_argument("--split", default="test")
    parser.add_argument(
        "--flip", action="store_true", help="average each image's features with its mirror image's"
    )
    parser.add_argument("--json", default="", help="file for settings and figures")
    options = parser.parse_args(None if arguments is None else list(arguments))
    splits = load_photographs(options.table, options.image_root, options.weights, flip=options.flip)
    baseline = choose(splits["train"], splits["validation"])
    wanted = splits[options.split]
    found = recalls(baseline.similarity(wanted), wanted.image_of_text)
    report = {
        "settings": asdict(baseline.settings),
        "validation": dict(baseline.validation),
        options.split: found,
    }
    print(json.dumps(report, indent=2))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)
    return report


if __name__ == "__main__":
    main()
