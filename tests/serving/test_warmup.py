"""The warm-up file, read back with the server's own protocol buffers and played to the model."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from xmkeras.serving.warmup import WARMUP_FILE, prediction_log

LONG = b"a long sentence " * 5_000


@pytest.fixture(scope="module")
def log_class():
    reason = "needs the server's protocol buffers: pip install tensorflow-serving-api"
    return pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2", reason=reason).PredictionLog


@pytest.fixture(scope="module")
def records(exported) -> list[bytes]:
    return [record.numpy() for record in tf.data.TFRecordDataset(str(exported.version / WARMUP_FILE))]


def test_every_signature_is_touched_and_answers(records, signatures, log_class):
    touched = {}
    for record in records:
        request = log_class.FromString(record).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        name = request.model_spec.signature_name
        answer = signatures[name](**inputs)
        rows = {int(value.shape[0]) for value in answer.values()}
        assert len(rows) == 1
        touched.setdefault(name, set()).update(rows)
    assert touched == {name: {1, 3} for name in signatures}
    assert len(records) <= 1000


def test_a_record_is_the_message_that_the_server_would_write(log_class):
    inputs = {"text": np.array([b"a", LONG], object), "k": np.array([1, 2], np.int32)}
    expected = log_class()
    request = expected.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "xmkeras", "search_by_text_k"
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    assert log_class.FromString(prediction_log("search_by_text_k", inputs)) == expected
