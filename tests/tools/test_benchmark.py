"""The benchmark at tiny sizes: every contender computes what it says, and ratios and tables are right."""

from __future__ import annotations

import importlib.util
import pathlib

import numpy as np
import pandas as pd
import pytest

from tools import benchmark, benchmark_decoding, benchmark_layers, benchmark_losses, benchmark_ranking
from tools.benchmark_worker import Absent, Sample, Worker
from xmkeras.errors import UserError

RANKING = {"queries": 40, "gallery": 200, "dim": 16, "noise": 2.0, "seed": 0}


def samples(*walls: float, **figures: float) -> list[Sample]:
    return [Sample(wall, 2 * wall, 100.0 + wall, wall, figures) for wall in walls]


def test_a_ratio_is_the_median_of_the_quotients_within_a_turn():
    ours, theirs = samples(1, 8, 3), samples(2, 4, 3)
    assert benchmark.quotients(ours, theirs, "wall") == (1, 0.5, 2)
    assert benchmark.quotients(ours, theirs, "cpu", scale=10) == (10, 5, 20)


def test_a_row_for_each_way_to_run_a_loss():
    runs = {
        "ours": samples(0.002, 0.004, value=1.5, finite=1),
        "ours, XLA": samples(0.001, 0.001, value=1.5, finite=0),
        "twin": samples(0.004, 0.004, value=1.25, finite=1),
    }
    plain, compiled = benchmark.loss_rows("histogram", 64, runs, "wall")
    assert plain == {
        "loss": "histogram", "B": "64", "ms": "3.00", "MiB": "0", "value": "1.5", "twin": "HistogramLoss",
        "twin ms": "4.00", "twin MiB": "0", "twin value": "1.25", "ours / twin": "0.75 (0.50-1.00)",
    }  # fmt: skip
    assert compiled["loss"] == "histogram, XLA"
    assert compiled["value"] == "1.5, gradients not finite"
    alone = benchmark.loss_rows("cmpm", 8, {"ours": runs["ours"]}, "cpu")[0]
    assert (alone["ms"], alone["twin"]) == ("6.00", "none")
    assert "ours / twin" not in alone


def test_ranking_rows_hold_ratios_to_the_product_and_scaled_times():
    runs = {"product": samples(1, 2), "scikit_learn": samples(0.5, 1, mAP=50)}
    first, second = benchmark.ranking_rows(runs, {"product": 1.0, "scikit_learn": 20.0}, "wall")
    assert (first["s"], first["ratio to product"]) == ("1.50", "1.00 (1.00-1.00)")
    assert second == {
        "contender": "scikit_learn (scaled)", "s": "15.00", "ratio to product": "10.00 (10.00-10.00)",
        "peak GiB": "0.10", "found": "mAP 50.0",
    }  # fmt: skip


def test_a_table_in_markdown_leaves_missing_cells_empty():
    table = pd.DataFrame([{"a": "x", "b": "1"}, {"a": "y"}])
    assert benchmark.markdown(table).splitlines() == ["| a | b |", "| --- | ---: |", "| x | 1 |", "| y |  |"]


def test_every_contender_finds_the_same():
    ours = benchmark_ranking.xmkeras(**RANKING)()
    queries, gallery, keys, others = benchmark_ranking.data(**RANKING)
    ranking = (keys[:, None] == others)[np.arange(40)[:, None], np.argsort(-(queries @ gallery.T), axis=1)]
    for k in benchmark_ranking.KS:
        assert ours[f"R@{k}"] == pytest.approx(100 * ranking[:, :k].any(axis=1).mean())
    peers = [benchmark_ranking.faiss(**RANKING)()] if importlib.util.find_spec("faiss") else []
    for found in peers:
        assert found == pytest.approx({name: ours[name] for name in found})
    assert benchmark_ranking.product(**RANKING)() == {}


def test_scikit_learn_computes_the_map_of_its_part_of_the_queries():
    pytest.importorskip("sklearn")
    part = {**RANKING, "queries": 20, "gallery": 100}
    found = benchmark_ranking.scikit_learn(**part)()["mAP"]
    queries, gallery, _, others = benchmark_ranking.data(**part)
    places = np.flatnonzero((others == 0)[np.argsort(-(queries[0] @ gallery.T))])
    assert found == pytest.approx(100 * np.mean(np.arange(1, 6) / (places + 1)))
    assert benchmark_ranking.scale("scikit_learn", 100) == 20
    assert benchmark_ranking.scale("faiss", 100) == 1


def test_each_loss_has_a_case_and_each_input_is_made():
    made = benchmark_losses.inputs(8, 6, 0)
    for case in benchmark_losses.CASES:
        assert set(case.wanted) <= set(made)
        assert bool(case.twin) == bool(case.twin_name)
    assert np.bincount(made["labels"]).tolist() == [4, 4]


@pytest.mark.parametrize("case", benchmark_losses.CASES, ids=lambda case: case.name)
def test_each_loss_runs_and_has_finite_gradients(case):
    figures = benchmark_losses.ours(case.name, 8, 6, 0, False)()
    assert np.isfinite(figures["value"])
    assert figures["finite"] == 1


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_loops_over_captions_score_as_the_batched_form(direction: str, train: bool):
    sizes = {"direction": direction, "batch": 18, "regions": 4, "steps": 6, "dim": 8, "train": train, "seed": 0}
    ours = benchmark_layers.attention(**sizes)()["value"]
    if not train:
        assert benchmark_layers.numpy_loop(**sizes)()["value"] == pytest.approx(ours, rel=1e-4)
    if importlib.util.find_spec("torch"):
        assert benchmark_layers.torch_loop(**sizes)()["value"] == pytest.approx(ours, rel=1e-4)


def test_the_lstm_beside_that_of_keras_at_a_tiny_size(capsys):
    assert (
        benchmark.main(["recurrent", "--threads=1", "--repetitions=1", "--sequences=3", "--steps=4", "--units=5"]) == 0
    )
    rows = [[c.strip() for c in line.split("|")] for line in capsys.readouterr().out.splitlines() if line[:1] == "|"]
    assert {("training step, B 3", "ours"), ("training step, B 3", "Keras")} <= {(row[1], row[2]) for row in rows}
    assert all(float(row[3]) > 0 for row in rows if row[2] in ("ours", "Keras"))


@pytest.mark.parametrize("factor", [1, 6])
def test_decoders_make_nearly_the_same_of_a_file(factor: int):
    sizes = {"height": 30 * factor, "width": 40 * factor, "size": 16, "seed": 0}
    ours = benchmark_decoding.ours(**sizes)()["value"]
    for contender in (benchmark_decoding.ours_whole, benchmark_decoding.pillow, benchmark_decoding.pillow_draft):
        assert contender(**sizes)()["value"] == pytest.approx(ours, abs=0.2)


def test_ratios_of_a_whole_run(tmp_path: pathlib.Path):
    output = tmp_path / "benchmark.md"
    arguments = [f"--{name}={value}" for name, value in RANKING.items() if name != "seed"]
    run = [
        "losses",
        "ranking",
        "--threads=1",
        "--repetitions=1",
        "--loss=proxy_nca",
        "--batch=8",
        "--loss_dim=6",
        "--peer=faiss",
    ]
    assert benchmark.main([*run, *arguments, f"--output={output}"]) == 0
    text = output.read_text()
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert {"proxy_nca", "product", "xmkeras", "xmkeras, at chance"} <= set(rows)
    assert "1.00 (1.00-1.00)" in rows["product"]
    assert "mINP" in rows["xmkeras"]
    assert ("faiss" in rows) == bool(importlib.util.find_spec("faiss"))
    assert "sentence_transformers" not in rows
    if importlib.util.find_spec("pytorch_metric_learning"):
        cells = [cell.strip() for cell in rows["proxy_nca"].split("|")]
        assert float(cells[5]) == pytest.approx(float(cells[9]), rel=1e-3)
    else:
        assert "left out: twin" in text


def test_who_cannot_run_is_absent_for_a_reason():
    with Worker("tools.no_such_module:run", {}, 1) as worker, pytest.raises(Absent, match="not installed"):
        worker.ready()
    with Worker("tools.benchmark_losses:ours", {"name": "none"}, 1) as worker, pytest.raises(Absent, match="ended"):
        worker.ready()
    with pytest.raises(UserError, match="nothing can be measured"):
        benchmark.interleave({"none": ("tools.no_such_module:run", {})}, 1, 1)


def test_threads_are_a_number_or_all():
    with pytest.raises(SystemExit):
        benchmark.main(["ranking", "--threads=0"])
