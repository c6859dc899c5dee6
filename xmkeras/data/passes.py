"""One pass over the images or the captions of a table, in order."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from xmkeras.data import images, pipeline
from xmkeras.data.rows import RowTable
from xmkeras.data.token_vectors import TokenVectors


def image_batches(
    table: RowTable,
    *,
    image_size: images.Size,
    batch_size: int,
    augmentation: images.Augmentation | None = None,
    views: int = 1,
    seed: int = 0,
) -> tf.data.Dataset:
    """Every distinct image of a table once, in the order of its first row; broken ones are left out.

    Args:
        table: the images.
        image_size: (height, width) of the result.
        batch_size: images in a batch.
        augmentation: of the views after the first, which is the plain image; where it only flips, the second
            view is the mirrored image.
        views: of each image.
        seed: of the augmentation.

    Returns:
        Dataset of dicts: `image` float32 (b, H, W, 3) in 0..255, or (b, views, H, W, 3) with more than one view;
        `row` int64 (b,), the first row of the image. The last batch is what is left.
    """
    varied = augmentation or images.Augmentation()

    @pipeline.in_graph
    def read(row: tf.Tensor) -> pipeline.Batch:
        return {"image": table.read_image(row), "row": row}

    @pipeline.in_graph
    def decode(example: pipeline.Batch) -> pipeline.Batch:
        plain = pipeline.loader(image_size, images.Augmentation())
        seen = [plain(example["image"], tf.zeros(2, tf.int64))]
        if varied.only_flips and views > 1:
            seen.append(tf.reverse(seen[0], [1]))
        for view in range(len(seen), views):
            own = tf.stack([tf.constant(seed, tf.int64), example["row"] * views + view])
            seen.append(pipeline.loader(image_size, varied)(example["image"], own))
        return {"image": tf.stack(seen) if views > 1 else seen[0], "row": example["row"]}

    dataset = tf.data.Dataset.from_tensor_slices(table.distinct_images())
    dataset = dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.ignore_errors().batch(batch_size).prefetch(2).with_options(pipeline.options())


def cached_image_batches(table: RowTable, features: np.ndarray, *, batch_size: int) -> tf.data.Dataset:
    """The features of every distinct image once, in the order of its first row; those of broken ones are left out.

    Args:
        table: the images.
        features: float32 (rows, f), NaN where an image could not be read.
        batch_size: images in a batch.

    Returns:
        Dataset of dicts: `image_features` float32 (b, f) and `row` int64 (b,), as of `image_batches`.
    """
    rows = table.distinct_images()
    rows = rows[~np.isnan(features[rows]).any(axis=1)]
    dataset = tf.data.Dataset.from_tensor_slices({"image_features": np.asarray(features[rows]), "row": rows})
    return dataset.batch(batch_size).with_options(pipeline.options())


def caption_batches(
    table: RowTable, *, tokenize: pipeline.Tokenize, batch_size: int, tokens: TokenVectors | None = None
) -> tf.data.Dataset:
    """Every caption of every row once, row by row.

    Returns:
        Dataset of dicts: `text` int32 (b, L), or `text_tokens` and `text_mask` where `tokens` stand for the captions,
        as in `TrainingBatches`; `row`, `image_id` (number of the distinct image) and `label` int64 (b,). The last
        batch is what is left.
    """
    counts = np.array([len(captions) for captions in table.captions])
    row_of_caption = np.repeat(np.arange(len(table)), counts)
    first = np.cumsum(counts) - counts

    types = pipeline.text_types(tokens) | dict.fromkeys(("row", "image_id", "label"), tf.int64)
    shapes = pipeline.text_shapes(tokens)

    def plan(start: np.ndarray) -> list[np.ndarray]:
        numbers = np.arange(int(start), min(int(start) + batch_size, len(row_of_caption)))
        rows = row_of_caption[numbers]
        texts = [table.captions[row][at] for row, at in zip(rows, numbers - first[rows], strict=True)]
        columns = {"row": rows, "image_id": table.image_index[rows], "label": table.labels[rows]}
        columns |= pipeline.text_columns(texts, tokens)
        return [columns[name] for name in types]

    @pipeline.in_graph
    def planned(start: tf.Tensor) -> pipeline.Batch:
        batch = pipeline.columns_in_graph(plan, start, types, shapes, None)
        return batch if tokens is not None else {**batch, "text": tokenize(batch["text"])}

    starts = tf.data.Dataset.range(0, len(row_of_caption), batch_size)
    return starts.map(planned).prefetch(2).with_options(pipeline.options())
