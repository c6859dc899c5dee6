"""The loop: length, evaluation, best and early stop, stages, resume, signals, NaN."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
import signal
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import tensorflow as tf

from tests.training.toy import Batches, Distance, Rooted, method
from xmkeras.config import TrainConfig
from xmkeras.errors import UserError
from xmkeras.layers import EpochMean
from xmkeras.method import Batch, Clock, Losses, Outputs
from xmkeras.training.checkpoints import Checkpoints
from xmkeras.training.groups import parse_stage
from xmkeras.training.loop import Result, Trainer, plan
from xmkeras.training.monitor import Monitor

OPTIONS = TrainConfig(learning_rate=0.01, log_every=1, save_every=3, eval_every=4, best_metric="rsum")


def _run(
    directory: pathlib.Path,
    *stages: str,
    options: TrainConfig = OPTIONS,
    evaluate: Callable[[int], dict[str, float]] | None = None,
    batches: Batches | None = None,
    subject=None,
    **more,
) -> tuple[Result, dict[str, np.ndarray]]:
    subject = subject or method(dropout=0.3, norm=True)
    with Monitor(directory) as monitor:
        trainer = Trainer(
            subject,
            [parse_stage(text) for text in stages],
            steps_per_epoch=5,
            batches_of=lambda stage, bad: batches or Batches(),
            evaluate=evaluate,
            options=options,
            strategy=tf.distribute.get_strategy(),
            checkpoints=Checkpoints(directory / "checkpoints"),
            monitor=monitor,
            describe_rows=lambda rows: " ".join(f"row{row}" for row in rows),
            **more,
        )
        result = trainer.run()
    return result, {name: variable.numpy() for name, variable in subject.named_variables().items()}


def test_stages_follow_one_another():
    spans = plan([parse_stage("epochs=2"), parse_stage("steps=3"), parse_stage("epochs=0.5")], 5)
    assert [(span.first, span.end) for span in spans] == [(0, 10), (10, 13), (13, 16)]


def test_a_frozen_stage_moves_nothing_of_what_it_freezes(tmp_path: pathlib.Path):
    before = {name: v.numpy() for name, v in method(dropout=0.3, norm=True).named_variables().items()}
    _, after = _run(tmp_path / "a", "steps=3 frozen=image_backbone/(dense|norm)/.*")
    for name in after:
        moved = not np.array_equal(before[name], after[name])
        if not name.startswith("image_backbone/dropout"):
            assert moved != name.startswith("image_backbone/"), name
    _, after = _run(tmp_path / "b", "steps=1 frozen=image_backbone/(dense|norm)/.*", "steps=1")
    assert not np.array_equal(before["image_backbone/dense/kernel"], after["image_backbone/dense/kernel"])


def test_a_run_in_mini_batches_ends_where_it_ends_without_but_for_what_looks_at_the_batch(tmp_path: pathlib.Path):
    options = {size: dataclasses.replace(OPTIONS, mini_batch_size=size) for size in (0, 4)}
    whole, parts = (
        _run(tmp_path / str(size), "steps=3", subject=method(), options=one)[1] for size, one in options.items()
    )
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, atol=1e-5, err_msg=name)
    # Batch norm sees a mini-batch: the flag has reached the step.
    normed = [
        _run(tmp_path / f"norm{size}", "steps=1", subject=method(norm=True), options=one)[1]
        for size, one in options.items()
    ]
    averages = [after["image_backbone/norm/moving_mean"] for after in normed]
    assert np.abs(averages[0] - averages[1]).max() > 1e-4


def test_evaluates_marks_the_best_and_stops_early(tmp_path: pathlib.Path):
    asked: list[int] = []

    def evaluate(step: int) -> dict[str, float]:
        asked.append(step)
        return {"rsum": {4: 1.0, 8: 5.0}.get(step, 2.0)}

    options = dataclasses.replace(OPTIONS, patience=2)
    result, _ = _run(tmp_path, "steps=100", evaluate=evaluate, options=options)
    assert asked == [4, 8, 12, 16]
    assert result == Result("stopped early", 16, 8, 5.0, "rsum")
    best = Checkpoints(tmp_path / "checkpoints").best()
    assert best is not None
    assert best.step == 8


@pytest.mark.parametrize("cut", [2, 4, 5, 6, 7])
def test_a_run_in_two_parts_is_the_run_in_one(cut: int, tmp_path: pathlib.Path):
    stages = ("steps=5 frozen=image_backbone/(dense|norm)/.*", "steps=4")
    options = dataclasses.replace(OPTIONS, ema=0.9, schedule="plateau", plateau_patience=1, save_every=1)
    evaluate = lambda step: {"rsum": -float(step)}  # noqa: E731 (worse every time, so that the plateau acts)
    _, whole = _run(tmp_path / "whole", *stages, options=options, evaluate=evaluate)

    class CutError(Exception):
        pass

    class Ending(Batches):
        def iterate(self, start_step, distribute):
            for number, batch in enumerate(super().iterate(start_step, distribute), start_step):
                if number == cut:
                    raise CutError
                yield batch

    with pytest.raises(CutError):
        _run(tmp_path / "parts", *stages, options=options, evaluate=evaluate, batches=Ending())
    result, parts = _run(tmp_path / "parts", *stages, options=options, evaluate=evaluate)
    assert result.step == 9
    for name in whole:
        assert whole[name].tobytes() == parts[name].tobytes(), name
    one, two = (Checkpoints(tmp_path / name / "checkpoints").latest() for name in ("whole", "parts"))
    assert one is not None
    assert two is not None
    assert one.state == two.state
    for name in one.tensors:
        assert one.tensors[name].tobytes() == two.tensors[name].tobytes(), name


def test_a_finished_run_takes_no_step_and_a_longer_one_goes_on(tmp_path: pathlib.Path):
    _, first = _run(tmp_path, "steps=4")
    result, _ = _run(tmp_path, "steps=4", batches=Batches(nan_at=0))
    assert (result.ending, result.step) == ("finished", 4)
    result, second = _run(tmp_path, "steps=6")
    assert result.step == 6
    assert not np.array_equal(first["image_head/out/kernel"], second["image_head/out/kernel"])


@pytest.mark.parametrize("log_every", [1, 50])
def test_a_nan_names_step_term_and_row_and_leaves_the_checkpoint_whole(log_every: int, tmp_path: pathlib.Path):
    options = dataclasses.replace(OPTIONS, log_every=log_every)
    with pytest.raises(UserError, match=r"^Step 5: distance is not finite, with rows row2; .*step 3, is whole"):
        _run(tmp_path, "steps=20", batches=Batches(nan_at=4), options=options, subject=method())
    latest = Checkpoints(tmp_path / "checkpoints").latest()
    assert latest is not None
    assert latest.step == 3
    assert all(np.isfinite(value).all() for value in latest.tensors.values())


@pytest.mark.parametrize("log_every", [1, 50])
def test_a_gradient_that_is_not_finite_stops_the_run_and_another_goes_on(log_every: int, tmp_path: pathlib.Path):
    options = dataclasses.replace(OPTIONS, log_every=log_every, ema=0.9)
    fault = r"^Step 4: the gradient of image_backbone/dense/kernel, .* and 3 more is not finite, with rows row0 row1"
    subject = method(Rooted, norm=True)
    with pytest.raises(UserError, match=fault):
        _run(tmp_path, "steps=9", batches=Batches(zero_at=3), options=options, subject=subject)
    latest = Checkpoints(tmp_path / "checkpoints").latest()
    assert latest is not None
    assert latest.step == 3
    assert all(np.isfinite(value).all() for value in latest.tensors.values())
    result, weights = _run(tmp_path, "steps=9", options=options, subject=method(Rooted, norm=True))
    assert (result.ending, result.step) == ("finished", 9)
    assert all(np.isfinite(value).all() for value in weights.values())


def test_float16_runs_over_an_overflow_but_not_for_ever(tmp_path: pathlib.Path):
    options = dataclasses.replace(OPTIONS, precision="mixed_float16", log_every=4, save_every=50)
    result, _ = _run(tmp_path / "a", "steps=6", batches=Batches(zero_at=3), options=options, subject=method(Rooted))
    assert result.step == 6
    latest = Checkpoints(tmp_path / "a" / "checkpoints").latest()
    assert latest is not None
    assert latest.tensors["loss_scale/scale"] == 2.0**14

    class Always(Batches):
        def batch(self, step: int):
            return {**super().batch(step), "scale": tf.zeros(self.size)}

    with pytest.raises(UserError, match=r"^Step 16: the gradient of image_backbone"):
        _run(tmp_path / "b", "steps=30", batches=Always(), options=options, subject=method(Rooted))


def test_a_frozen_group_keeps_its_statistics_as_a_stage_does(tmp_path: pathlib.Path):
    before = {name: v.numpy() for name, v in method(norm=True).named_variables().items()}
    frozen = "image_backbone/(dense|norm)/.*"
    options = dataclasses.replace(OPTIONS, group=(f"{frozen} frozen",))
    _, by_group = _run(tmp_path / "a", "steps=3", options=options, subject=method(norm=True))
    _, by_stage = _run(tmp_path / "b", f"steps=3 frozen={frozen}", subject=method(norm=True))
    for name, value in by_group.items():
        np.testing.assert_array_equal(value, by_stage[name])
        assert np.array_equal(value, before[name]) == name.startswith("image_backbone/"), name


@pytest.mark.parametrize(("least", "best", "value"), [(False, 8, 5.0), (True, 4, 1.0)])
def test_the_best_follows_the_direction_of_its_metric(least: bool, best: int, value: float, tmp_path: pathlib.Path):
    options = dataclasses.replace(OPTIONS, best_metric="rank", patience=3, schedule="plateau", plateau_patience=1)
    evaluate = lambda step: {"rank": {4: 1.0, 8: 5.0}.get(step, 2.0)}  # noqa: E731
    lower = lambda name: least and name == "rank"  # noqa: E731
    result, _ = _run(tmp_path, "steps=12", evaluate=evaluate, options=options, lower_is_better=lower)
    assert (result.best_step, result.best_value) == (best, value)
    latest = Checkpoints(tmp_path / "checkpoints").latest()
    assert latest is not None
    assert (latest.state["best_value"], latest.state["waited"]) == (value, 1 if not least else 2)
    # A rate that fell once or twice: the plateau waits for the same direction.
    assert latest.state["schedule"]["share"] == pytest.approx(0.1 if not least else 0.01)
    result, _ = _run(tmp_path, "steps=100", evaluate=evaluate, options=options, lower_is_better=lower)
    assert (result.ending, result.step, result.best_value) == ("stopped early", 20 if not least else 16, value)


@pytest.mark.parametrize("at", [2, 4])
def test_a_signal_saves_wherever_it_comes(at: int, tmp_path: pathlib.Path):
    """In the logs of step 2, which saves nothing by itself, or in the evaluation of step 4."""

    def interrupt(step: int) -> None:
        if step == at:
            signal.raise_signal(signal.SIGINT)

    class Interrupted(Distance):
        def warning(self, step: int, numbers: Mapping[str, float]) -> str:
            interrupt(step if step == 2 else 0)
            return ""

    def evaluate(step: int) -> dict[str, float]:
        interrupt(step)
        return {"rsum": 1.0}

    result, _ = _run(tmp_path, "steps=9", evaluate=evaluate, subject=method(Interrupted))
    assert (result.ending, result.step) == ("interrupted", at)
    assert Checkpoints(tmp_path / "checkpoints").steps()[-1] == at


def test_a_signal_saves_nothing_that_is_not_finite(tmp_path: pathlib.Path):
    class Interrupting(Batches):
        def batch(self, step: int):
            if step == 4:
                signal.raise_signal(signal.SIGINT)
            return super().batch(step)

    options = dataclasses.replace(OPTIONS, log_every=50)
    with pytest.raises(UserError, match=r"^Step 5:"):
        _run(tmp_path, "steps=9", batches=Interrupting(nan_at=4), options=options)
    assert Checkpoints(tmp_path / "checkpoints").steps() == [3]


def test_a_method_is_told_the_time_and_finds_its_epoch_again(tmp_path: pathlib.Path):
    """The mean of an epoch's losses that a run cut in its middle reaches is that of the run in one."""
    clocks: list[Clock] = []

    class Scheduled(Distance):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.add_head("mean", EpochMean(name="mean"))

        def start_step(self, clock: Clock) -> None:
            clocks.append(clock)
            if clock.begins_epoch:
                self.heads["mean"].roll()

        def losses(self, outputs: Outputs, batch: Batch) -> Losses:
            return {"distance": self.heads["mean"](super().losses(outputs, batch)["distance"])}

    for steps in (7, 12):
        _run(tmp_path, f"steps={steps}", subject=method(Scheduled))
    assert clocks == [Clock(step, 5, 7 if step < 7 else 12) for step in range(12)]
    with (tmp_path / "metrics.csv").open() as file:
        losses = {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}
    latest = Checkpoints(tmp_path / "checkpoints").latest()
    assert latest is not None
    np.testing.assert_allclose(
        [latest.tensors[f"weights/heads/mean/{name}"] for name in ("mean", "total", "count")],
        [np.mean([losses[step] for step in range(6, 11)]), losses[11] + losses[12], 2],
        rtol=1e-5,
    )


def test_an_unknown_best_metric_lists_those_there_are(tmp_path: pathlib.Path):
    options = dataclasses.replace(OPTIONS, best_metric="beauty")
    with pytest.raises(UserError, match=r"beauty.*rsum"):
        _run(tmp_path, "steps=5", evaluate=lambda step: {"rsum": 1.0}, options=options)


def test_broken_rows_travel_with_the_checkpoint(tmp_path: pathlib.Path):
    _run(tmp_path, "steps=3", batches=Batches(bad_rows=[7, 9]))
    latest = Checkpoints(tmp_path / "checkpoints").latest()
    assert latest is not None
    assert latest.state["bad_rows"] == [7, 9]


def test_a_methods_warning_is_printed(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]):
    class Worried(Distance):
        def warning(self, step: int, numbers: Mapping[str, float]) -> str:
            return f"Step {step} lost {numbers['loss']:.3f}." if step == 2 else ""

    _run(tmp_path, "steps=3", subject=method(Worried))
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("Step 2 lost") for line in lines) == 1
