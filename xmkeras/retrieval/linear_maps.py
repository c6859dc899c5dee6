"""Linear maps of fixed features in closed form: canonical correlations, whitening within classes, principal components.

They are the most that can be had of frozen features without training: what a trained head has to beat, and where it
may start.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xmkeras.errors import UserError

CAPTIONS = ("separate", "averaged")
RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0)
POWERS = (0.0, 0.5, 1.0, 2.0)
SHRINKAGE = 0.3
_BLOCK = 4096  # rows that are looked at together, so that files larger than the memory can be read
_FLAT = 1e-12  # share of the largest variance below which a direction has none
_RECALL_AT = (1, 5, 10)
_HELD_OUT, _MOST_HELD_OUT = 0.2, 1000


@dataclass(frozen=True)
class LinearMap:
    """x -> (x - mean) @ matrix.

    Attributes:
        mean: (f,).
        matrix: (f, d).
        variances: (d,), of each dimension of what the map makes of the rows it was fitted on.
    """

    mean: np.ndarray
    matrix: np.ndarray
    variances: np.ndarray

    @classmethod
    def of(cls, mean: np.ndarray, matrix: np.ndarray, covariance: np.ndarray) -> LinearMap:
        """Of rows with that mean and covariance (f, f)."""
        return cls(mean, matrix, np.einsum("fd,fd->d", matrix, covariance @ matrix))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, f) -> (n, d)."""
        result: np.ndarray = (np.asarray(rows, np.float64) - self.mean) @ self.matrix
        return result

    def weighted(self, weights: np.ndarray) -> LinearMap:
        """With the first dimensions alone, each times its weight: (d',), d' <= d."""
        first = slice(len(weights))
        return LinearMap(self.mean, self.matrix[:, first] * weights, self.variances[first] * weights**2)

    def of_unit_variance(self) -> LinearMap:
        """Scaled as a whole, so that the variance of a dimension is 1 in the mean; cosines stay what they are."""
        scale = np.full(len(self.variances), 1.0 / np.sqrt(max(self.variances.mean(), 1e-300)))
        return self.weighted(scale)


class Pairs(NamedTuple):
    """Features of images and of the texts that belong to them.

    Attributes:
        images: (n, f), one row an image, possibly a memory map.
        texts: (q, t), alike.
        image_of_text: (q,), the row of each text's image; every image has a text.
    """

    images: np.ndarray
    texts: np.ndarray
    image_of_text: np.ndarray

    def take(self, chosen: np.ndarray) -> Pairs:
        """The images where `chosen` (n,) is true, with their texts."""
        number = np.cumsum(chosen) - 1
        texts = chosen[self.image_of_text]
        return Pairs(self.images[chosen], self.texts[texts], number[self.image_of_text[texts]])


class Spectrum(NamedTuple):
    """A covariance (f, f) by its r directions with variance: what every ridge of a grid can share."""

    covariance: np.ndarray
    values: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, covariance: np.ndarray) -> Spectrum:
        """Decomposes a covariance; directions without variance are left out."""
        values, vectors = np.linalg.eigh(covariance)
        kept = values > _FLAT * max(values[-1], 1e-300)
        return cls(covariance, values[kept][::-1], vectors[:, kept][:, ::-1])

    def whitening(self, ridge: float) -> np.ndarray:
        """1 / sqrt(variance + ridge * mean variance of a feature) of each direction: (r,)."""
        mean = np.trace(self.covariance) / len(self.covariance)
        result: np.ndarray = 1.0 / np.sqrt(self.values + ridge * mean)
        return result


@dataclass(frozen=True)
class Correlated:
    """What canonical correlation analysis has to know of pairs: the same for all ridges.

    Attributes:
        means: (f,) and (t,).
        images, texts: the spectra of both sides, of r and s directions.
        cross: (r, s), their covariances in these directions.
    """

    means: tuple[np.ndarray, np.ndarray]
    images: Spectrum
    texts: Spectrum
    cross: np.ndarray

    @classmethod
    def of(cls, pairs: Pairs, captions: str = "separate") -> Correlated:
        """Every text with its image, or with captions "averaged" every image with the mean of its texts.

        Holds covariances and the sums of each image's texts, and goes through the rest block by block.
        """
        counts = np.bincount(pairs.image_of_text, minlength=len(pairs.images)).astype(np.float64)
        averages = np.zeros((len(pairs.images), pairs.texts.shape[1]))
        for rows in _blocks(len(pairs.texts)):
            np.add.at(averages, pairs.image_of_text[rows], pairs.texts[rows])
        averages /= np.maximum(counts, 1.0)[:, None]
        weights = counts if captions == "separate" else np.minimum(counts, 1.0)
        image_mean, images = _moments(pairs.images, weights)
        text_mean, texts = _moments(averages, weights)
        if captions == "separate":
            texts = _moments(pairs.texts)[1]
        cross = np.zeros((images.shape[0], texts.shape[0]))
        for rows in _blocks(len(averages)):
            centred = (pairs.images[rows] - image_mean) * weights[rows, None]
            cross += centred.T @ (averages[rows] - text_mean)
        left, right = Spectrum.of(images), Spectrum.of(texts)
        between = left.vectors.T @ (cross / weights.sum()) @ right.vectors
        return cls((image_mean, text_mean), left, right, between)

    def solve(self, image_ridge: float, text_ridge: float) -> Cca:
        """CCA with these ridges, which are in units of the mean variance of a feature."""
        whitening = self.images.whitening(image_ridge), self.texts.whitening(text_ridge)
        left, correlations, right = np.linalg.svd(
            whitening[0][:, None] * self.cross * whitening[1], full_matrices=False
        )
        maps = [
            LinearMap.of(mean, side.vectors @ (white[:, None] * basis), side.covariance)
            for mean, side, white, basis in zip(
                self.means, (self.images, self.texts), whitening, (left, right.T), strict=True
            )
        ]
        return Cca(maps[0], maps[1], correlations)


@dataclass(frozen=True)
class Cca:
    """Two linear maps into one space, strongest canonical direction first.

    Canonical correlation analysis (Hotelling 1936; with ridges as Vinod 1976).

    Attributes:
        images, texts: (f, d) and (t, d).
        correlations: (d,) of the pairs it was fitted on, descending.
    """

    images: LinearMap
    texts: LinearMap
    correlations: np.ndarray

    def weighted(self, dimension: int, power: float) -> Cca:
        """With the first dimensions alone, each times its correlation ** power."""
        correlations = self.correlations[:dimension]
        weights = np.maximum(correlations, 0.0) ** power
        return Cca(self.images.weighted(weights), self.texts.weighted(weights), correlations)

    def similarity(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Cosines of texts (q, t) and images (n, f): (q, n)."""
        result: np.ndarray = unit_rows(self.texts(texts)) @ unit_rows(self.images(images)).T
        return result


@dataclass(frozen=True)
class Settings:
    """What canonical correlation analysis leaves open; ridges in units of the mean variance of a feature."""

    image_ridge: float = 1.0
    text_ridge: float = 1.0
    dimension: int = 128
    power: float = 1.0
    captions: str = "separate"


@dataclass(frozen=True)
class Chosen:
    """The settings that were best on held-out pairs, with their recalls there, and the CCA they were measured with."""

    settings: Settings
    cca: Cca
    found: dict[str, float]
    quality: tuple[float, float]


def choose_cca(
    train: Pairs,
    held_out: Pairs,
    *,
    ridges: Sequence[float] = RIDGES,
    dimensions: Sequence[int] = (),
    powers: Sequence[float] = POWERS,
    captions: Sequence[str] = CAPTIONS,
) -> Chosen:
    """Fits on `train` and keeps what has the highest rsum on `held_out`; of equal ones the best mean reciprocal rank.

    Ridges and the use of captions are chosen first, with all dimensions weighted by their correlation; then how many
    dimensions are kept, and by which power of it they are weighted.

    Args:
        train: pairs to fit on.
        held_out: others to choose by.
        ridges: of either side.
        dimensions: numbers of canonical directions; () for all there are.
        powers: of the correlations.
        captions: of `CAPTIONS`.

    Raises:
        UserError: none of the dimensions is there.
    """
    tried = []
    for use in captions:
        correlated = Correlated.of(train, use)
        for image_ridge, text_ridge in itertools.product(ridges, ridges):
            cca = correlated.solve(image_ridge, text_ridge)
            most = min(max(dimensions, default=len(cca.correlations)), len(cca.correlations))
            settings = Settings(image_ridge, text_ridge, most, 1.0, use)
            tried.append((_quality(cca, settings, held_out), settings, cca))
    (_, first, cca) = max(tried, key=lambda one: one[0][0])
    sizes = [size for size in dimensions or (len(cca.correlations),) if size <= len(cca.correlations)]
    if not sizes:
        most = len(cca.correlations)
        raise UserError(f"CCA of these features has {most} directions; give --embedding_dim={most} or less.")
    settled = [
        Settings(first.image_ridge, first.text_ridge, size, power, first.captions)
        for size, power in itertools.product(sizes, powers)
    ]
    qualities = [_quality(cca, one, held_out) for one in settled]
    best = max(range(len(settled)), key=lambda number: qualities[number][0])
    weighted = cca.weighted(settled[best].dimension, settled[best].power)
    return Chosen(settled[best], weighted, qualities[best][1], qualities[best][0])


def fit_cca(pairs: Pairs, settings: Settings) -> Cca:
    """CCA of all pairs with these settings."""
    solved = Correlated.of(pairs, settings.captions).solve(settings.image_ridge, settings.text_ridge)
    return solved.weighted(settings.dimension, settings.power)


def held_out_images(labels: np.ndarray) -> np.ndarray:
    """Which of the images with these labels (n,) are set aside to choose settings by: a fifth of the labels, bool (n,).

    At most a thousand images or so, the same in every process.
    """
    known = np.unique(labels)
    share = min(_HELD_OUT, _MOST_HELD_OUT / len(labels))
    drawn = np.random.default_rng(0).permutation(known)[: max(1, round(share * len(known)))]
    result: np.ndarray = np.isin(labels, drawn)
    return result


def whitened(rows: np.ndarray, labels: np.ndarray, dimension: int, shrinkage: float = SHRINKAGE) -> LinearMap:
    """Takes the variance within classes off every direction, and keeps the largest of what is left.

    With Sw the covariance within classes, shrunk as (1 - shrinkage) Sw + shrinkage tr(Sw)/f I: to whiten by it and
    turn to principal components is linear discriminant analysis that keeps more directions than there are classes.

    Args:
        rows: (n, f).
        labels: (n,), of which some are shared.
        dimension: d <= f.
        shrinkage: 0 to 1.

    Raises:
        UserError: no two rows share a label, or there are fewer features than `dimension`.
    """
    _check_dimension(dimension, rows)
    mean, covariance = _moments(rows)
    _, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.max() < 2:
        raise UserError("To whiten by the covariance within classes, images have to share labels, and none do here.")
    sums = np.zeros((len(counts), rows.shape[1]))
    for block in _blocks(len(rows)):
        np.add.at(sums, number[block], rows[block] - mean)
    within = covariance - (sums / counts[:, None]).T @ sums / len(rows)
    level = np.trace(within) / len(within)
    values, vectors = np.linalg.eigh((1 - shrinkage) * within + shrinkage * level * np.eye(len(within)))
    white = vectors / np.sqrt(np.maximum(values, 1e-12 * values[-1]))
    turned = np.linalg.eigh(white.T @ covariance @ white)[1][:, ::-1]
    return LinearMap.of(mean, white @ turned[:, :dimension], covariance)


def principal_components(rows: np.ndarray, dimension: int) -> LinearMap:
    """The directions of the largest variance of rows (n, f), as they are: (f, dimension).

    Raises:
        UserError: there are fewer features than `dimension`.
    """
    _check_dimension(dimension, rows)
    mean, covariance = _moments(rows)
    return LinearMap.of(mean, np.linalg.eigh(covariance)[1][:, ::-1][:, :dimension], covariance)


def recalls(similarity: np.ndarray, image_of_text: np.ndarray) -> dict[str, float]:
    """R@1/5/10 both ways in percent and their sum, from scores (q, g) and the image of each text (q,).

    Ties count against the model. An image is found when any of its captions is; every image needs a caption.
    """
    own = similarity[np.arange(len(similarity)), image_of_text]
    text_rank = (similarity >= own[:, None]).sum(axis=1) - 1
    best = np.full(similarity.shape[1], -np.inf)
    np.maximum.at(best, image_of_text, own)
    other = image_of_text[:, None] != np.arange(similarity.shape[1])
    image_rank = np.count_nonzero((similarity >= best) & other, axis=0)
    found = {
        f"{direction}/R@{k}": 100.0 * float(np.mean(rank < k))
        for direction, rank in (("text_to_image", text_rank), ("image_to_text", image_rank))
        for k in _RECALL_AT
    }
    return found | {"rsum": sum(found.values())}


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows (n, d) at length 1."""
    result: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return result


def _quality(cca: Cca, settings: Settings, pairs: Pairs) -> tuple[tuple[float, float], dict[str, float]]:
    """rsum and the mean reciprocal rank of texts, and the recalls."""
    weighted = cca.weighted(settings.dimension, settings.power)
    scores = weighted.similarity(pairs.images, pairs.texts)
    own = scores[np.arange(len(scores)), pairs.image_of_text]
    found = recalls(scores, pairs.image_of_text)
    return (found["rsum"], float(np.mean(1.0 / (scores >= own[:, None]).sum(axis=1)))), found


def _moments(rows: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean (f,) and covariance (f, f) of weighted rows (n, f), in float64."""
    weights = np.ones(len(rows)) if weights is None else weights
    total = weights.sum()
    mean = np.zeros(rows.shape[1])
    for block in _blocks(len(rows)):
        mean += weights[block] @ rows[block] / total
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for block in _blocks(len(rows)):
        centred = (rows[block] - mean) * np.sqrt(weights[block])[:, None]
        covariance += centred.T @ centred / total
    return mean, covariance


def _blocks(number: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, number, _BLOCK))


def _check_dimension(dimension: int, rows: np.ndarray) -> None:
    if dimension > rows.shape[1]:
        raise UserError(f"There are {rows.shape[1]} features, and so many dimensions at most, not {dimension}.")
