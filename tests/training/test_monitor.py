"""What a run leaves behind for a person: read back by the tools that people use."""

from __future__ import annotations

import io
import pathlib

import numpy as np
import pandas as pd
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from xmkeras.training.monitor import Monitor

NUMBERS = {"loss": 3.0, "cmpm_i2t": 1.0, "cmpm_t2i": 2.0, "rate/adam": 1e-3, "gradient_norm": 9.0}


def read(directory: pathlib.Path) -> EventAccumulator:
    events = EventAccumulator(str(directory / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    return events


def values(events: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]


def test_numbers_reach_the_table_tensorboard_and_the_screen(tmp_path: pathlib.Path) -> None:
    screen = io.StringIO()
    with Monitor(tmp_path / "run", batch_size=8, steps_per_epoch=10, stream=screen, interval=0) as monitor:
        monitor.start(0, 100)
        monitor.log(10, NUMBERS)
        monitor.log_metrics(10, {"text_to_image/R@1": 12.5})
        monitor.log(20, {**NUMBERS, "loss": 2.0})
    table = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert table["step"].tolist() == [10, 10, 20]
    assert table["validation/text_to_image/R@1"].dropna().tolist() == [12.5]
    assert (table["time/seconds"].dropna().diff().dropna() >= 0).all()
    assert (table["time/images_per_second"].dropna() > 0).all()
    assert table["gradient_norm"].dropna().tolist() == [9.0, 9.0]
    events = read(tmp_path / "run")
    assert values(events, "loss") == [(10, 3.0), (20, 2.0)]
    assert values(events, "validation/text_to_image/R@1") == [(10, 12.5)]
    first = screen.getvalue().splitlines()[0]
    assert first == "step 10/100 | epoch 1 | loss 3 = cmpm_i2t 1 + cmpm_t2i 2"


def test_pictures_reach_tensorboard(tmp_path: pathlib.Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    with Monitor(tmp_path) as monitor:
        monitor.image(3, "queries", picture)
    (event,) = read(tmp_path).Tensors("queries")
    width, height, encoded = tf.make_ndarray(event.tensor_proto)
    assert (int(width), int(height)) == (7, 5)
    np.testing.assert_array_equal(tf.io.decode_png(encoded).numpy(), picture)


def test_a_run_that_continues_repeats_no_step(tmp_path: pathlib.Path) -> None:
    with Monitor(tmp_path, stream=io.StringIO()) as monitor:
        monitor.start(0, 100)
        for step in (10, 20, 30):
            monitor.log(step, {"loss": float(step)})
    with Monitor(tmp_path, stream=io.StringIO()) as monitor:
        monitor.rewind(20)
        monitor.start(20, 100)
        monitor.log(30, {"loss": 0.5})
    assert pd.read_csv(tmp_path / "metrics.csv")["loss"].tolist() == [10.0, 20.0, 0.5]
    assert values(read(tmp_path), "loss") == [(10, 10.0), (20, 20.0), (30, 0.5)]


def test_a_run_killed_before_its_first_checkpoint_starts_clean(tmp_path: pathlib.Path) -> None:
    with Monitor(tmp_path, stream=io.StringIO()) as monitor:
        monitor.log(5, {"loss": 1.0})
    with Monitor(tmp_path, stream=io.StringIO()) as monitor:
        monitor.start(0, 10)
        monitor.log(5, {"loss": 2.0})
    assert pd.read_csv(tmp_path / "metrics.csv")["loss"].tolist() == [2.0]
    assert values(read(tmp_path), "loss") == [(5, 2.0)]


def test_an_event_torn_by_a_kill_is_dropped(tmp_path: pathlib.Path) -> None:
    with Monitor(tmp_path, stream=io.StringIO()) as monitor:
        for step in (1, 2, 3):
            monitor.log(step, {"loss": float(step)})
    (path,) = (tmp_path / "tensorboard").iterdir()
    path.write_bytes(path.read_bytes()[:-7])
    with Monitor(tmp_path, stream=io.StringIO()) as monitor:
        monitor.rewind(3)
        monitor.log(3, {"loss": 30.0})
    assert values(read(tmp_path), "loss") == [(1, 1.0), (2, 2.0), (3, 30.0)]
