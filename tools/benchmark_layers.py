"""The contenders of the recurrent and the cross-attention benchmark, each beside those that compute the same.

Recurrent: a training step of a bidirectional LSTM on captions of uneven lengths, ours, that of Keras, and PyTorch's on
packed sequences. Cross attention: SCAN's scores of a batch, and a step of its hinge on hardest negatives, ours beside
the loop over captions of the releases, in PyTorch and (scores alone) in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tools import benchmark_worker

Run = Callable[[], dict[str, float]]
_SLOPE, _SMOOTHING, _MARGIN = 0.1, {"t2i": 9.0, "i2t": 4.0}, 0.2


def captions(batch: int, steps: int, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal token vectors (b, L, f) float32, sorted by length, and lengths (b,) from a third of L to L."""
    generator = np.random.default_rng(seed)
    lengths = np.sort(generator.integers(max(1, steps // 3), steps + 1, batch))[::-1]
    lengths[0] = steps
    return generator.normal(size=(batch, steps, dim)).astype(np.float32), lengths.astype(np.int64)


def _recurrent(make: Callable[[int], Any], batch: int, steps: int, dim: int, units: int, seed: int) -> Run:
    tf = benchmark_worker.tensorflow()
    vectors, lengths = captions(batch, steps, dim, seed)
    layer = make(units)
    x, mask = tf.constant(vectors), tf.sequence_mask(lengths, steps)
    layer.build(x.shape)

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.boolean_mask(layer(x, mask=mask, training=True), mask) ** 2)
        return loss, tape.gradient(loss, [x, *layer.trainable_variables])

    return lambda: {"value": float(step()[0])}


def lstm(**sizes: int) -> Run:
    """Ours."""

    def make(units: int) -> Any:
        from xmkeras.models.bidirectional_lstm import BidirectionalLSTM

        return BidirectionalLSTM(units)

    return _recurrent(make, **sizes)


def keras_lstm(**sizes: int) -> Run:
    """Bidirectional(LSTM) of Keras."""

    def make(units: int) -> Any:
        import keras

        return keras.layers.Bidirectional(keras.layers.LSTM(units, return_sequences=True))

    return _recurrent(make, **sizes)


def torch_lstm(batch: int, steps: int, dim: int, units: int, seed: int) -> Run:
    """PyTorch's LSTM on packed sequences."""
    torch = benchmark_worker.torch()
    vectors, lengths = captions(batch, steps, dim, seed)
    layer = torch.nn.LSTM(dim, units, bidirectional=True, batch_first=True)
    x = torch.from_numpy(vectors).requires_grad_()
    wanted = [x, *layer.parameters()]

    def run() -> dict[str, float]:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.from_numpy(lengths), batch_first=True)
        outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(layer(packed)[0], batch_first=True)
        loss = (outputs**2).sum()
        torch.autograd.grad(loss, wanted)
        return {"value": float(loss.detach())}

    return run


def attention(direction: str, batch: int, regions: int, steps: int, dim: int, train: bool, seed: int) -> Run:
    """Ours: scores of all pairs of a batch; with `train` the hinge and its gradients."""
    tf = benchmark_worker.tensorflow()
    from xmkeras import losses
    from xmkeras.losses.batch_scores import hardest_negatives, hinge_of_hardest

    images, words, lengths = _batch(batch, regions, steps, dim, seed)
    smoothing = _SMOOTHING[direction]
    x, y, mask = tf.constant(images), tf.constant(words), tf.sequence_mask(lengths, steps)
    tile = 16

    def scores(x: Any, y: Any) -> Any:
        # Captions in tiles, whose longest is not much longer than the others.
        parts = []
        for start in range(0, batch, tile):
            longest = int(lengths[start])
            part = slice(start, start + tile)
            parts.append(
                losses.cross_attention(
                    x, y[part, :longest], None, mask[part, :longest], direction=direction, smoothing=smoothing
                )
            )
        return tf.concat(parts, axis=1)

    @tf.function
    def run() -> Any:
        if not train:
            return scores(x, y)
        texts, others = hardest_negatives(scores(x, y))
        with tf.GradientTape() as tape:
            tape.watch([x, y])

            def pairs(i: Any, j: Any) -> Any:
                return losses.cross_attention(
                    tf.gather(x, i), tf.gather(y, j), None, tf.gather(mask, j),
                    direction=direction, smoothing=smoothing, pairs=True,
                )  # fmt: skip

            loss = hinge_of_hardest(pairs, texts, others, margin=_MARGIN)
        return loss, tape.gradient(loss, [x, y])

    return lambda: {"value": float(run()[0] if train else tf.reduce_sum(run()))}


def torch_loop(direction: str, batch: int, regions: int, steps: int, dim: int, train: bool, seed: int) -> Run:
    """The releases' way in PyTorch: caption by caption against all images, with attended vectors."""
    torch = benchmark_worker.torch()
    images, words, lengths = _batch(batch, regions, steps, dim, seed)
    x = torch.from_numpy(images).requires_grad_(train)
    y = torch.from_numpy(words).requires_grad_(train)
    functional = torch.nn.functional

    def column(j: int) -> Any:
        sentence = y[j, : lengths[j]].expand(batch, -1, -1)
        query, source = (sentence, x) if direction == "t2i" else (x, sentence)
        products = functional.leaky_relu(source @ query.transpose(1, 2), _SLOPE)
        shares = torch.softmax(_SMOOTHING[direction] * functional.normalize(products, dim=2), dim=1)
        attended = shares.transpose(1, 2) @ source
        return functional.cosine_similarity(query, attended, dim=2).mean(dim=1)

    def run() -> dict[str, float]:
        with torch.set_grad_enabled(train):
            scores = torch.stack([column(j) for j in range(batch)], dim=1)
            if not train:
                return {"value": float(scores.sum())}
            positive, own = scores.diag(), torch.eye(batch, dtype=torch.bool)
            of_texts = (_MARGIN + scores - positive[:, None]).clamp(min=0).masked_fill(own, 0).amax(dim=1)
            of_images = (_MARGIN + scores - positive[None]).clamp(min=0).masked_fill(own, 0).amax(dim=0)
            loss = (of_texts + of_images).sum()
            torch.autograd.grad(loss, [x, y])
            return {"value": float(loss.detach())}

    return run


def numpy_loop(direction: str, batch: int, regions: int, steps: int, dim: int, train: bool, seed: int) -> Run:
    """The same loop in NumPy, scores alone; ImportError where it is asked to train."""
    if train:
        raise ImportError("a gradient of the loop in NumPy", name="a gradient of the loop in NumPy")
    images, words, lengths = _batch(batch, regions, steps, dim, seed)

    def unit(values: np.ndarray, axis: int) -> np.ndarray:
        return values / np.maximum(np.linalg.norm(values, axis=axis, keepdims=True), 1e-8)

    def column(j: int) -> np.ndarray:
        sentence = np.broadcast_to(words[j, : lengths[j]], (batch, lengths[j], dim))
        query, source = (sentence, images) if direction == "t2i" else (images, sentence)
        products = source @ query.transpose(0, 2, 1)
        scaled = unit(np.where(products > 0, products, _SLOPE * products), 2)
        shares = np.exp(_SMOOTHING[direction] * scaled)
        attended = (shares / shares.sum(axis=1, keepdims=True)).transpose(0, 2, 1) @ source
        return (unit(query, 2) * unit(attended, 2)).sum(axis=2).mean(axis=1)

    return lambda: {"value": float(sum(column(j).sum() for j in range(batch)))}


def _batch(batch: int, regions: int, steps: int, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Vectors of length 1, as the encoders give them.
    words, lengths = captions(batch, steps, dim, seed)
    images = np.random.default_rng(seed + 1).normal(size=(batch, regions, dim)).astype(np.float32)
    return _unit(images), _unit(words), lengths


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
