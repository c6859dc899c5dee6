"""The order of training examples as a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np

from xmkeras.errors import UserError

EPOCHS_OVER = ("pairs", "images", "labels", "balanced")


class Sampler(Protocol):
    """Which (row, caption) pairs make up the batches of an epoch; remembers nothing."""

    batch_size: int
    steps_per_epoch: int

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and the numbers of their captions of all batches of an epoch, int64 (steps, B) each, in new arrays."""

    def replacement(self, row: int, bad_rows: Collection[int]) -> int:
        """The row that stands in for a bad one; does not depend on when it was found to be bad."""


class PairSampler:
    """Batches of pairs in random order.

    An epoch goes over groups of `captions_per_image` captions of one row, shuffled, and drops what does not
    fill a last batch. Over "pairs", every caption of every row takes part once an epoch (a row's last group
    is filled up with its own captions again); over "images", every row takes part once an epoch, with the
    next captions of its cycle each time; over "labels", every label takes part once an epoch with one of its
    rows, so that labels of many rows do not outweigh the others. A "balanced" epoch is as long as one over
    images and holds every label equally often; each label's rows take turns.

    Args:
        captions_per_row: number of captions of each row, (n,); 0 where rows have none.
        batch_size: pairs in a batch.
        seed: of the order.
        epoch_over: see above.
        captions_per_image: captions of one image that lie side by side in a batch.
        labels: the label of each row, (n,), for an epoch over labels or a balanced one.

    Raises:
        UserError: if the batch does not divide into groups, or is larger than an epoch.
    """

    def __init__(
        self,
        captions_per_row: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        epoch_over: str = "pairs",
        captions_per_image: int = 1,
        labels: np.ndarray | None = None,
    ):
        self._counts = np.maximum(np.asarray(captions_per_row, np.int64), 1)
        self.batch_size = batch_size
        self._seed = seed
        self._over = epoch_over
        self._group = captions_per_image
        if epoch_over not in EPOCHS_OVER:
            raise UserError(f"An epoch goes over {', '.join(EPOCHS_OVER)}, not over {epoch_over!r}.")
        if epoch_over in ("labels", "balanced"):
            self._by_label, self._label_starts = _grouped(labels, len(self._counts))
        if batch_size < 1 or captions_per_image < 1 or batch_size % captions_per_image:
            raise UserError(
                f"The batch size {batch_size} is not a multiple of {captions_per_image} captions per image."
            )
        rows_of_groups = self._groups()
        self.steps_per_epoch = len(rows_of_groups) // (batch_size // captions_per_image)
        if not self.steps_per_epoch:
            raise UserError(
                f"One epoch has {len(rows_of_groups) * captions_per_image} pairs, fewer than the batch size "
                f"{batch_size}; choose a smaller batch."
            )

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and the numbers of their captions, int64 (steps, B) each."""
        groups = self.steps_per_epoch * (self.batch_size // self._group)
        order = self._epoch_order(epoch)[:groups]
        shape = (self.steps_per_epoch, self.batch_size)
        return order[:, 0].reshape(shape), order[:, 1].reshape(shape)

    def replacement(self, row: int, bad_rows: Collection[int]) -> int:
        """The next good row, from the last round to the first."""
        return _next_good(row, len(self._counts), bad_rows)

    def _groups(self) -> np.ndarray:
        """The row of each group of an unshuffled epoch; over labels, the first row of each."""
        rows = np.arange(len(self._counts))
        if self._over == "labels":
            return self._by_label[self._label_starts[:-1]]
        return np.repeat(rows, -(-self._counts // self._group)) if self._over == "pairs" else rows

    def _epoch_order(self, epoch: int) -> np.ndarray:
        """The shuffled groups of an epoch: (groups, 2, captions_per_image), rows and caption numbers."""
        generator = np.random.default_rng([self._seed, epoch])
        rows = self._groups()
        slots = np.arange(self._group)
        if self._over == "labels":
            rows = self._by_label[generator.integers(self._label_starts[:-1], self._label_starts[1:])]
            captions = (generator.integers(self._counts[rows])[:, None] + slots) % self._counts[rows][:, None]
        elif self._over == "balanced":
            rows = self._balanced(generator)
            captions = (generator.integers(self._counts[rows])[:, None] + slots) % self._counts[rows][:, None]
        elif self._over == "pairs":
            first_group = np.searchsorted(rows, rows)
            ranks = (np.arange(len(rows)) - first_group)[:, None] * self._group + slots
            captions = self._shuffled_captions(generator, rows[:, None], ranks % self._counts[rows][:, None])
        else:
            start = np.random.default_rng([self._seed]).integers(self._counts)
            captions = (start[:, None] + epoch * self._group + slots) % self._counts[:, None]
        order = np.stack([np.broadcast_to(rows[:, None], captions.shape), captions], axis=1)
        return order[generator.permutation(len(rows))]

    def _balanced(self, generator: np.random.Generator) -> np.ndarray:
        """As many rows as there are, (n,), every label equally often but for the remainder."""
        sizes = np.diff(self._label_starts)
        turns = np.full(len(sizes), len(self._counts) // len(sizes))
        turns[generator.permutation(len(sizes))[: len(self._counts) % len(sizes)]] += 1
        rows = []
        for first, size, turn in zip(self._label_starts[:-1], sizes, turns, strict=True):
            rounds = [generator.permutation(size) for _ in range(-(-turn // size))]
            rows.append(self._by_label[first + np.concatenate(rounds)[:turn]] if rounds else rounds)
        return np.concatenate(rows).astype(np.int64)

    def _shuffled_captions(
        self, generator: np.random.Generator, rows: np.ndarray, ranks: np.ndarray
    ) -> np.ndarray:
        """The captions that a random order of each row's own captions puts at `ranks`."""
        first = np.cumsum(self._counts) - self._counts
        row_of_pair = np.repeat(np.arange(len(self._counts)), self._counts)
        by_row = np.lexsort((generator.random(len(row_of_pair)), row_of_pair))
        return by_row[first[rows] + ranks] - first[rows]


class ClassSampler:
    """Batches of P classes with K images each, for losses that need positives and negatives of one batch.

    An epoch has as many batches as its images fill. The classes come in random order, none twice in a batch; the
    images of a class take turns, and repeat within a batch only where it has fewer than K.

    Args:
        captions_per_row: number of captions of each row, (n,); 0 where rows have none.
        labels: the class of each row, (n,).
        images: the image of each row, (n,), of which any row may stand for it; each row is an image where None.
        batch_size: P K.
        images_per_class: K; 1 for batches of one pair a class.
        seed: of the order.

    Raises:
        UserError: the batch does not divide by K, or needs more classes or images than there are.
    """

    def __init__(
        self,
        captions_per_row: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        images_per_class: int,
        seed: int,
        images: np.ndarray | None = None,
    ):
        self._counts = np.maximum(np.asarray(captions_per_row, np.int64), 1)
        self.batch_size = batch_size
        self._images, self._seed = images_per_class, seed
        images = np.arange(len(self._counts)) if images is None else images
        self._by_image, self._image_starts = _grouped(images, len(self._counts))
        first = self._by_image[self._image_starts[:-1]]
        self._by_label, self._starts = _grouped(np.asarray(labels)[first], len(first))
        self._image_of = np.unique(images, return_inverse=True)[1]
        if images_per_class < 1 or batch_size < 1 or batch_size % images_per_class:
            raise UserError(f"The batch size {batch_size} is not a multiple of {images_per_class} images per class.")
        classes = len(self._starts) - 1
        if batch_size // images_per_class > classes:
            raise UserError(
                f"A batch of {batch_size} with {images_per_class} images per class needs "
                f"{batch_size // images_per_class} classes, and the training split has {classes}; choose a smaller "
                "batch or more images per class."
            )
        self.steps_per_epoch = len(first) // batch_size
        if not self.steps_per_epoch:
            raise UserError(
                f"One epoch has {len(first)} images, fewer than the batch size {batch_size}; choose a smaller "
                "batch."
            )

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and the numbers of their captions, int64 (steps, B) each; rows of a class lie side by side."""
        generator = np.random.default_rng([self._seed, epoch])
        per_batch = self.batch_size // self._images
        classes = len(self._starts) - 1
        rounds = -(-self.steps_per_epoch // (classes // per_batch))
        order = [generator.permutation(classes)[: classes // per_batch * per_batch] for _ in range(rounds)]
        chosen = np.concatenate(order)[: self.steps_per_epoch * per_batch]
        images = np.empty((len(chosen), self._images), np.int64)
        for label in np.unique(chosen):
            uses = np.flatnonzero(chosen == label)
            images[uses] = self._turns(generator, label, len(uses))
        images = images.reshape(self.steps_per_epoch, self.batch_size)
        rows = self._by_image[generator.integers(self._image_starts[images], self._image_starts[images + 1])]
        return rows, generator.integers(self._counts[rows])

    def replacement(self, row: int, bad_rows: Collection[int]) -> int:
        """A good row of the next image of the same class, or the next of any where the class has none."""
        place = int(np.flatnonzero(self._by_label == self._image_of[row])[0])
        label = int(np.searchsorted(self._starts, place, "right")) - 1
        own = np.roll(self._by_label[self._starts[label] : self._starts[label + 1]], self._starts[label] - place)
        rows = [self._by_image[self._image_starts[image] : self._image_starts[image + 1]] for image in own]
        good = [int(one) for of_image in rows for one in of_image if one not in bad_rows]
        return good[0] if good else _next_good(row, len(self._counts), bad_rows)

    def _turns(self, generator: np.random.Generator, label: int, uses: int) -> np.ndarray:
        """(uses, K) images of a class; none repeats within a use where the class has K, and all take turns."""
        own = self._by_label[self._starts[label] : self._starts[label + 1]]
        uses_a_round = max(1, len(own) // self._images)
        rounds = [
            np.resize(generator.permutation(own), (uses_a_round, self._images)) for _ in range(-(-uses // uses_a_round))
        ]
        return np.concatenate(rounds)[:uses]


def _next_good(row: int, rows: int, bad_rows: Collection[int]) -> int:
    candidates = (np.arange(rows) + row) % rows
    good = candidates[~np.isin(candidates, list(bad_rows))]
    if not len(good):
        raise UserError("Every row of the training split is broken; check the data with `xmkeras verify`.")
    return int(good[0])


def _grouped(labels: np.ndarray | None, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows ordered by label, and where each label begins in that order, with the end behind."""
    if labels is None or len(labels) != rows:
        raise ValueError(f"an epoch over labels needs the label of each of the {rows} rows")
    _, counts = np.unique(labels, return_counts=True)
    return np.argsort(labels, kind="stable"), np.concatenate([[0], np.cumsum(counts)])
