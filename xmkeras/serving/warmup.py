"""Requests that TensorFlow Serving plays to every signature before it takes traffic."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping

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
    image_size: tuple[int, int] = (32, 32),
) -> int:
    """Writes requests of one and of three rows for every signature under `version_dir`.

    Args:
        version_dir: the folder of the saved model's version.
        signatures: the concrete functions that were saved.
        image_size: height and width of the pictures in the requests, in pixels.

    Returns:
        The number of requests (TensorFlow Serving reads at most 1,000).
    """
    path = version_dir / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, function in signatures.items():
            for inputs in _examples(function, image_size):
                writer.write(prediction_log(name, inputs))
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


def example_images(image_size: tuple[int, int]) -> list[bytes]:
    """A JPEG and a PNG of a colour ramp, and bytes that are no image: every way through the decoder."""
    height, width = image_size
    ramp = np.indices((height, width)).sum(0)[..., None] * np.array([1, 2, 3]) % 256
    pixels = tf.constant(ramp, tf.uint8)
    return [tf.io.encode_jpeg(pixels).numpy(), tf.io.encode_png(pixels).numpy(), b"not an image"]


def _examples(
    function: tf.types.experimental.ConcreteFunction, image_size: tuple[int, int]
) -> Iterator[dict[str, np.ndarray]]:
    rows = {
        "image_bytes": np.array(example_images(image_size), object),
        "text": np.array([b"a red heart", b"", b"a man in a blue shirt rides a bicycle past houses"], object),
        "k": np.full(3, 5, np.int32),
    }
    specs = input_specs(function)
    for name, spec in specs.items():
        if name.endswith("_features"):
            rows[name] = np.linspace(0, 1, 3 * spec.shape[1], dtype=np.float32).reshape(3, -1)
    for size in (1, 3):
        yield {name: rows[name][:size] for name in specs}


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of protocol buffers' wire format: tag, length, payload."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
