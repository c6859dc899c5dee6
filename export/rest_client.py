"""Calls a served model over REST with nothing but Python's standard library.

python rest_client.py search_by_text "a red heart" "two dogs"
python rest_client.py search_by_image heart.png
python rest_client.py score heart.png "a red heart"
python rest_client.py encode_text "a red heart"
python rest_client.py encode_image heart.png
"""

from __future__ import annotations

import argparse
import base64
import json
import pathlib
import urllib.error
import urllib.request
from typing import Any


def image(path: str) -> dict[str, str]:
    """The bytes of an image file as TensorFlow Serving takes them in JSON."""
    return {"b64": base64.b64encode(read(path)).decode()}


def read(path: str) -> bytes:
    """The bytes of a file; ends the program with a sentence where it cannot be read."""
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise SystemExit(f"Cannot read {path}: {error.strerror}") from error


def inputs_of(signature: str, values: list[str]) -> dict[str, list[Any]]:
    """Files for the image signatures, sentences for the text ones, file and sentence by turns for `score`."""
    if signature == "score" and len(values) % 2:
        raise SystemExit("score takes a file and a sentence by turns: heart.png \"a red heart\"")
    if signature == "score":
        return {"image_bytes": [image(path) for path in values[::2]], "text": list(values[1::2])}
    if signature.endswith("image"):
        return {"image_bytes": [image(path) for path in values]}
    return {"text": values}


def call(url: str, signature: str, inputs: dict[str, list[Any]]) -> dict[str, Any]:
    """The outputs of one request by name; every output has one row for each row of the inputs."""
    body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            outputs = json.load(response)["outputs"]
    except urllib.error.HTTPError as error:
        raise SystemExit(f"The server answered {error.code}: {error.read().decode(errors='replace')}") from error
    except urllib.error.URLError as error:
        raise SystemExit(f"No server at {url}: {error.reason}") from error
    # The server leaves the name out where a signature has a single output.
    return outputs if isinstance(outputs, dict) else {"embedding": outputs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("signature")
    parser.add_argument("values", nargs="+", metavar="FILE_OR_TEXT")
    parser.add_argument("--url", default="http://localhost:8501/v1/models/xmkeras:predict")
    args = parser.parse_args()
    print(json.dumps(call(args.url, args.signature, inputs_of(args.signature, args.values)), ensure_ascii=False))


if __name__ == "__main__":
    main()
