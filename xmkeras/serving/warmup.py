"""Requests that TensorFlow Serving plays to every signature before it takes traffic."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from xmkeras.serving.signatures import input_specs

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"

# Field numbers of tensorflow_serving/apis/{prediction_log,predict,model}.proto. These few nested messages are
# written by hand, so that exporting does not need the tensorflow-serving-api package.
_LOG_PREDICT, _PREDICT_REQUEST = 6, 1
_REQUEST_MODEL, _REQUEST_INPUTS = 1, 2
_MODEL_NAME, _MODEL_SIGNATURE = 1, 3
_MAP_KEY, _MAP_VALUE = 1, 2


def write_warmup(
    version_dir: pathlib.Path,
    signatures: Mapping[str, tf.types.experimental.ConcreteFunction],
    examples: Mapping[str, np.ndarray],
) -> int:
    """Writes requests of one and of three rows for every signature under `version_dir`.

    Args:
        version_dir: the folder of the saved model's version.
        signatures: the concrete functions that were saved.
        examples: three rows for each of their inputs but `k`, by its name.

    Returns:
        The number of requests (TensorFlow Serving reads at most 1,000).
    """
    path = version_dir / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, count = {**examples, "k": np.full(3, 5, np.int32)}, 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, function in signatures.items():
            for size in (1, 3):
                given = {name: rows[name][:size] for name in input_specs(function)}
                writer.write(prediction_log(signature, given))
                count += 1
    return count


def prediction_log(signature: str, inputs: Mapping[str, np.ndarray], model: str = "xmkeras") -> bytes:
    """A serialised `tensorflow.serving.PredictionLog` that holds one PredictRequest to `signature`."""
    spec = _field(_MODEL_NAME, model.encode()) + _field(_MODEL_SIGNATURE, signature.encode())
    request = _field(_REQUEST_MODEL, spec)
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += _field(_REQUEST_INPUTS, _field(_MAP_KEY, name.encode()) + _field(_MAP_VALUE, tensor))
    return _field(_LOG_PREDICT, _field(_PREDICT_REQUEST, request))


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of protocol buffers' wire format: tag, length, payload."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
