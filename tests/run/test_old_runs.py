"""Run directories that version 0.1.0 made before sides had names: they evaluate, continue and export as they did.

`tests/runs_0_1/` holds three of them, cut at step 4 of 6, with what that version measured and trained afterwards.
"""

from __future__ import annotations

import json
import pathlib
import shutil

import numpy as np
import pytest

from tests.conformance.cases import write_pairs
from tests.conftest import ROOT
from tests.data.feature_pairs import write_wikipedia
from tests.models.tiny_bert import write_hugging_face
from xmkeras import flags
from xmkeras.run import evaluation, jobs
from xmkeras.run.directory import RunDirectory
from xmkeras.serving.client import SearchModel
from xmkeras.training.checkpoints import Checkpoints

RUNS = ("words", "timam", "vectors")
# Of pictures and words: what clients of models exported before may call.
SIGNATURES = {
    "serving_default": (["image_bytes"], ["embedding", "valid"]),
    "encode_image": (["image_bytes"], ["embedding", "valid"]),
    "encode_text": (["text"], ["embedding"]),
    "score": (["image_bytes", "text"], ["score", "valid"]),
    "search_by_text": (["text"], ["ids", "scores"]),
    "search_by_image": (["image_bytes"], ["ids", "scores", "valid"]),
    "search_by_text_k": (["k", "text"], ["ids", "scores"]),
    "search_by_image_k": (["image_bytes", "k"], ["ids", "scores", "valid"]),
}


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A copy of an old run beside its data, in the folder from which it was started."""
    shutil.copytree(ROOT / "tests" / "runs_0_1" / request.param, tmp_path / request.param)
    write_pairs(tmp_path / "pairs", 16, splits=("train", "validation", "test"))
    write_wikipedia(tmp_path)
    write_hugging_face(tmp_path / "bert")
    monkeypatch.chdir(tmp_path)
    return RunDirectory.existing(request.param)


def expected(run: RunDirectory) -> dict[str, np.ndarray]:
    return dict(np.load(run.path / "expected.npz"))


@pytest.mark.usefixtures("plain_tower")
def test_evaluates_as_before(run: RunDirectory):
    before = expected(run)
    measured = evaluation.measure(run.config(), run, "test")[0]
    np.testing.assert_allclose(measured.images.vectors, before["images"], atol=1e-5)
    assert measured.texts is not None
    np.testing.assert_allclose(measured.texts.vectors, before["texts"], atol=1e-5)
    results = json.loads(str(before["results"]))
    # The run's first weights were drawn anew after others, so they were not those that it began with.
    results.pop("modality_probe/before_training", None)
    results.pop("modality_probe/after_training", None)  # of the report, whose figures test_vector_report.py tests
    for name, value in results.items():
        assert measured.results[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.usefixtures("plain_tower")
def test_continues_as_before(run: RunDirectory):
    config = flags.parse([f"--flagfile={run.path / 'flags.cfg'}", f"--run={run.path}"]).config
    result = jobs.train(config, run)
    assert (result.ending, result.step) == ("finished", 6)
    checkpoint = Checkpoints(run.checkpoints).latest()
    assert checkpoint is not None
    before = expected(run)
    compared = 0
    for name, value in before.items():
        if name.startswith("after/"):
            np.testing.assert_allclose(
                checkpoint.tensors[name.removeprefix("after/")], value, atol=1e-5, rtol=1e-4, err_msg=name
            )
            compared += 1
    assert compared > 5


@pytest.mark.usefixtures("plain_tower")
def test_exports_the_same_signatures(run: RunDirectory):
    jobs.export(run.config(), run, "test", top_k=3)
    model = SearchModel(run.path)
    if run.path.name == "vectors":
        assert {"encode_image", "encode_text", "search_by_text", "search_texts_by_image"} <= set(model.signatures)
        return
    for name, (inputs, outputs) in SIGNATURES.items():
        described = model.metadata["signatures"][name]
        assert (sorted(described["inputs"]), sorted(described["outputs"])) == (inputs, outputs), name
