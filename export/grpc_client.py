"""Calls a served model over gRPC; needs `pip install tensorflow-serving-api`.

python grpc_client.py search_by_text "a red heart" "two dogs"
python grpc_client.py search_by_image heart.png
python grpc_client.py score heart.png "a red heart"
python grpc_client.py encode_text "a red heart"
python grpc_client.py encode_image heart.png
"""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


def read(path: str) -> bytes:
    """The bytes of a file; ends the program with a sentence where it cannot be read."""
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise SystemExit(f"Cannot read {path}: {error.strerror}") from error


def inputs_of(signature: str, values: list[str]) -> dict[str, list[bytes]]:
    """Files for the image signatures, sentences for the text ones, file and sentence by turns for `score`."""
    files, texts = values, values
    if signature == "score" and len(values) % 2:
        raise SystemExit("score takes a file and a sentence by turns: heart.png \"a red heart\"")
    if signature == "score":
        files, texts = values[::2], values[1::2]
    inputs = {}
    if signature == "score" or signature.endswith("image"):
        inputs["image_bytes"] = [read(path) for path in files]
    if signature == "score" or signature.endswith("text"):
        inputs["text"] = [text.encode() for text in texts]
    return inputs


def call(address: str, signature: str, inputs: dict[str, list[bytes]]) -> dict[str, np.ndarray]:
    """The outputs of one request by name; every output has one row for each row of the inputs."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "xmkeras"
    request.model_spec.signature_name = signature
    for name, rows in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(rows, tf.string))
    with grpc.insecure_channel(address) as channel:
        try:
            response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)
        except grpc.RpcError as error:
            raise SystemExit(f"{address} answered {error.code().name}: {error.details()}") from error
    return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def plain(value: Any) -> Any:
    """Arrays as nested lists and bytes as text, for printing."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("signature")
    parser.add_argument("values", nargs="+", metavar="FILE_OR_TEXT")
    parser.add_argument("--address", default="localhost:8500")
    args = parser.parse_args()
    outputs = call(args.address, args.signature, inputs_of(args.signature, args.values))
    print(json.dumps({name: plain(value) for name, value in outputs.items()}, ensure_ascii=False))


if __name__ == "__main__":
    main()
