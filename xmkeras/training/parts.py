"""A batch through the image tower in parts side by side: one a core, each with batch statistics of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from xmkeras.errors import UserError
from xmkeras.method import Batch, Tensor

Embed = Callable[[Batch, bool], Tensor]


def part_sizes(batch_size: int, parts: int) -> list[int]:
    """Sizes of `parts` slices of a batch, no two alike and as near each other as that allows.

    No two alike, because TensorFlow's oneDNN kernels for a CPU hold a lock for each shape of their inputs: equal parts
    would wait for each other at every convolution.

    Raises:
        UserError: a part would have fewer than 2 images, of which there are no batch statistics.
    """
    if parts == 1:
        return [batch_size]
    smallest = batch_size // parts - parts // 2 if parts > 0 else 0
    if smallest < 2:
        raise UserError(
            f"--image_parts={parts} leaves a part of a batch of {batch_size} with fewer than 2 images; "
            "choose fewer parts or a larger --batch_size."
        )
    # Steps of one about the mean, which an even number of parts leaves out.
    sizes = [smallest + number + (parts % 2 == 0 and number >= parts // 2) for number in range(parts)]
    sizes[-1] += batch_size % parts
    return sizes


def in_parts(embed_images: Embed, sizes: Sequence[int]) -> Embed:
    """`embed_images` of slices of the batch's `image`, whose embeddings are put together again.

    The slices do not depend on each other, so TensorFlow runs them at once on as many cores. Batch norm sees one slice
    at a time ("ghost batch norm", Hoffer et al. 2017); its moving averages take every slice in turn. Batches of cached
    features pass whole: their CNN is frozen.
    """

    def embed(batch: Batch, training: bool) -> Tensor:
        if len(sizes) == 1 or "image" not in batch:
            return embed_images(batch, training)
        slices = tf.split(batch["image"], list(sizes))
        return tf.concat([embed_images({**batch, "image": part}, training) for part in slices], axis=0)

    return embed
