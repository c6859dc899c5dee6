"""The client examples of export/, against stand-ins that speak the server's REST and gRPC forms."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import http.server
import json
import pathlib
import runpy
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

EXPORT = pathlib.Path(__file__).resolve().parents[2] / "export"
CALLS = [
    ("search_by_text", ["a red heart", "two dogs"]),
    ("search_by_image", ["good.png", "broken.png"]),
    ("score", ["good.png", "a red heart", "broken.png", "two dogs"]),
    ("encode_text", ["a red heart"]),
    ("encode_image", ["good.png"]),
]


def plain(value):
    """Arrays and bytes as the server's JSON has them."""
    return np.vectorize(bytes.decode)(value).tolist() if value.dtype == object else value.tolist()


def rest_handler(signatures):
    """A handler of TensorFlow Serving's column form of predict requests."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/models/xmkeras:predict"
            inputs = {name: tf.constant([self.value(row) for row in rows]) for name, rows in request["inputs"].items()}
            try:
                outputs = {k: plain(v.numpy()) for k, v in signatures[request["signature_name"]](**inputs).items()}
                self.answer(200, {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))})
            except KeyError as error:
                self.answer(400, {"error": f"Serving signature name: {error} not found"})

        @staticmethod
        def value(row):
            return base64.b64decode(row["b64"]) if isinstance(row, dict) else row

        def answer(self, status, content):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *args):
            pass

    return Handler


@pytest.fixture(scope="module")
def rest_address(signatures):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), rest_handler(signatures)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/models/xmkeras:predict"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def grpc_address(signatures):
    reason = "needs the server's stubs: pip install tensorflow-serving-api"
    stubs = pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc", reason=reason)
    import grpc
    from tensorflow_serving.apis import predict_pb2

    class Service(stubs.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802
            name = request.model_spec.signature_name
            if request.model_spec.name != "xmkeras" or name not in signatures:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Serving signature name: {name} not found")
            inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
            response = predict_pb2.PredictResponse()
            for key, value in signatures[name](**inputs).items():
                response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
            return response

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    stubs.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, encoded) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "good.png").write_bytes(encoded[0])
    (folder / "broken.png").write_bytes(b"broken")
    return folder


def run_rest(option, folder, signature, values):
    command = [sys.executable, str(EXPORT / "rest_client.py"), option, signature, *values]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def expected(signatures, folder, signature, values):
    files, texts = (values[::2], values[1::2]) if signature == "score" else (values, values)
    rows = {"text": tf.constant(texts)}
    with contextlib.suppress(FileNotFoundError):
        rows["image_bytes"] = tf.constant([(folder / name).read_bytes() for name in files])
    function = signatures[signature]
    return {
        k: plain(v.numpy()) for k, v in function(**{n: rows[n] for n in function.structured_input_signature[1]}).items()
    }


def check(printed, wanted):
    answer = json.loads(printed)
    assert set(answer) == set(wanted)
    for name, value in wanted.items():
        if name == "ids":
            assert answer[name] == value
        else:
            np.testing.assert_allclose(answer[name], value, atol=1e-5)


@pytest.mark.parametrize(("signature", "values"), CALLS)
def test_rest_client(rest_address, signatures, folder, signature, values):
    done = run_rest(f"--url={rest_address}", folder, signature, values)
    assert done.returncode == 0, done.stderr
    check(done.stdout, expected(signatures, folder, signature, values))


def test_rest_client_passes_the_servers_error_on(rest_address, folder):
    done = run_rest(f"--url={rest_address}", folder, "classify", ["x"])
    assert done.returncode == 1
    assert "The server answered 400" in done.stderr
    assert "Traceback" not in done.stderr


def test_rest_client_without_a_server(folder):
    done = run_rest("--url=http://127.0.0.1:9/", folder, "encode_text", ["x"])
    assert "No server at http://127.0.0.1:9/" in done.stderr


def run_grpc(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["grpc_client.py", *arguments])
    runpy.run_path(str(EXPORT / "grpc_client.py"), run_name="__main__")


@pytest.mark.parametrize(("signature", "values"), CALLS)
def test_grpc_client(grpc_address, signatures, folder, monkeypatch, capsys, signature, values):
    monkeypatch.chdir(folder)
    run_grpc(monkeypatch, f"--address={grpc_address}", signature, *values)
    check(capsys.readouterr().out, expected(signatures, folder, signature, values))


def test_grpc_client_passes_the_servers_error_on(grpc_address, monkeypatch):
    with pytest.raises(SystemExit, match="answered INVALID_ARGUMENT"):
        run_grpc(monkeypatch, f"--address={grpc_address}", "classify", "x")


def test_configs_name_the_same_model():
    pytest.importorskip("tensorflow_serving", reason="needs pip install tensorflow-serving-api")
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((EXPORT / "models.config").read_text(), config)
    [model] = config.model_config_list.config
    assert (model.name, model.base_path) == ("xmkeras", "/models/xmkeras")
    compose = (EXPORT / "compose.yaml").read_text()
    assert f":{model.base_path}:ro" in compose
    for name in ("models.config", "batching.config"):
        assert f"/config/{name}" in compose


@pytest.mark.parametrize("values", [["/nowhere/heart.png"], ["good.png", "a red heart", "odd.png"]])
def test_a_mistake_is_one_sentence(values, monkeypatch):
    signature = "score" if len(values) > 1 else "encode_image"
    monkeypatch.setattr(sys, "argv", ["rest_client.py", signature, *values])
    with pytest.raises(SystemExit, match=r"Cannot read /nowhere/heart.png: No such|score takes a file and a sentence"):
        runpy.run_path(str(EXPORT / "rest_client.py"), run_name="__main__")
