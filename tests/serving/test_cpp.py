"""The model under LoadSavedModel and Session::Run in C++, the calls that TensorFlow Serving makes."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.conftest import VALID

SOURCE = pathlib.Path(__file__).parent / "cpp" / "call_signatures.cc"
TEXTS = ["a red heart", "", "two dogs", "x", "ünïcode wörds", "a", "red"]
DTYPES = {"float": np.float32, "bool": np.int64}


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> pathlib.Path:
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("needs a C++ compiler: g++ or clang++ on the path, or its name in CXX")
    library = pathlib.Path(tf.sysconfig.get_lib())
    if not (library / "libtensorflow_cc.so.2").exists():
        pytest.skip(f"this TensorFlow has no C++ library in {library}")
    binary = tmp_path_factory.mktemp("cpp") / "call_signatures"
    # Nothing in the program names a symbol of the libraries that register the kernels, hence --no-as-needed.
    libraries = ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", f"-Wl,-rpath,{library}"]
    command = [compiler, *tf.sysconfig.get_compile_flags(), "-w", str(SOURCE), "-o", str(binary)]
    command += [f"-L{library}", "-Wl,--no-as-needed", *libraries]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    return binary


def parse(line: str) -> tuple[str, str, np.ndarray]:
    """Signature, output and value from a line of the program."""
    signature, output, dtype, shape, values = line.split("\t")
    if dtype == "string":
        flat = np.array([bytes.fromhex(word[1:]) for word in values.split()], object)
    else:
        flat = np.array(values.split(), np.float64).astype(DTYPES[dtype])
    return signature, output, flat.reshape([int(size) for size in shape.split(",")])


def test_every_signature_answers_in_cpp_as_in_python(exported, signatures, encoded, program, tmp_path):
    for number, one in enumerate(encoded):
        (tmp_path / f"{number}").write_bytes(one)
    files = [str(tmp_path / f"{number}") for number in range(len(encoded))]
    command = [str(program), str(exported.version), *files, "--", *TEXTS]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]

    rows = {"image_bytes": tf.constant(encoded), "text": tf.constant(TEXTS), "k": tf.constant(2)}
    answers: dict[str, dict[str, np.ndarray]] = {}
    for signature, output, value in map(parse, run.stdout.splitlines()):
        answers.setdefault(signature, {})[output] = value
    assert set(answers) == set(signatures)
    for name, function in signatures.items():
        expected = function(**{key: rows[key] for key in function.structured_input_signature[1]})
        assert set(answers[name]) == set(expected)
        for output, value in expected.items():
            if value.dtype == tf.float32:
                np.testing.assert_allclose(answers[name][output], value, atol=1e-5)
            else:
                np.testing.assert_array_equal(answers[name][output], value.numpy())
    np.testing.assert_array_equal(answers["encode_image"]["valid"], VALID)


def test_a_missing_model_is_reported(program, tmp_path):
    run = subprocess.run([str(program), str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "LoadSavedModel" in run.stderr
