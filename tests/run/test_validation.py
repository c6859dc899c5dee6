"""Validation shows a picture and writes projector files that TensorBoard's plugin finds."""

from __future__ import annotations

import pathlib

from tests.conformance.cases import SMALL, write_pairs
from xmkeras import flags
from xmkeras.run.assembly import build_method, load_table
from xmkeras.run.evaluator import Evaluator
from xmkeras.run.sides import sides_of
from xmkeras.run.validation import Validation
from xmkeras.training.monitor import Monitor


def test_measures_shows_and_projects(tmp_path: pathlib.Path):
    table_file = write_pairs(tmp_path / "pairs", 6, splits=("train", "validation"))
    config = flags.parse([*SMALL, "--source=table", f"--table={table_file}"]).config
    table = load_table(config)
    sides = sides_of(config, ("image", "text"), table.split("train"), {})
    method = build_method(config, sides, 6)
    with Monitor(tmp_path / "run") as monitor:
        evaluator = Evaluator(config, table.split("validation"), method, sides, tmp_path / "embeddings")
        validation = Validation(evaluator, monitor)
        validation.write_projector()  # nothing measured yet, nothing written
        assert not (monitor.tensorboard / "projector_config.pbtxt").exists()
        metrics = validation(3)
        validation.write_projector()
    assert 0 <= metrics["rsum"] <= 600
    assert metrics["chance/rsum"] > 0
    assert "chance/text_to_image/queries" not in metrics
    text = (monitor.tensorboard / "projector_config.pbtxt").read_text()
    assert "sprite" in text
    metadata = next(monitor.tensorboard.rglob("metadata.tsv")).read_text().splitlines()
    assert len(metadata) == 1 + 6 + 12
    assert sum(path.stat().st_size for path in monitor.tensorboard.glob("events*")) > 1000
