"""The progress line on terminals, in files and after its reader has gone."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from xmkeras.training.progress import Progress, duration


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


LOSSES = {"loss": 3.2123456, "cmpm_i2t": 1.6, "cmpm_t2i": 1.61234}


def run(stream: io.StringIO, steps: range, seconds: float, **settings: object) -> Progress:
    clock = Clock()
    progress = Progress(stream, clock=clock, **settings)
    progress.start(steps[0] - 1, 2000)
    for step in steps:
        progress.show(step, LOSSES)
        clock.now += seconds
    return progress


def test_the_plain_line_says_everything() -> None:
    stream = io.StringIO()
    run(stream, range(101, 121), 0.5, batch_size=64, steps_per_epoch=50, interval=9)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "step 101/2000 | epoch 3 | loss 3.212 = cmpm_i2t 1.6 + cmpm_t2i 1.61"
    assert lines[1] == (
        "step 119/2000 | epoch 3 | loss 3.212 = cmpm_i2t 1.6 + cmpm_t2i 1.61 | 128 images/s | 15:40 left"
    )
    assert len(lines) == 2


def test_the_last_step_is_always_shown() -> None:
    stream = io.StringIO()
    run(stream, range(1990, 2001), 0.1)
    assert stream.getvalue().splitlines()[-1].startswith("step 2000/2000")
    assert stream.getvalue().rstrip().endswith("10.0 steps/s | 0:00 left")


def test_a_terminal_shows_one_line_that_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    progress = run(stream, range(1, 6), 0.1)
    progress.note("evaluating")
    text = stream.getvalue()
    assert text.count("\n") == 2
    drawn, note = text.rstrip("\n").split("\n")
    lines = drawn.split("\r")[1:]
    assert len(lines) == 5
    assert {len(line) for line in lines} == {59}
    assert note == "evaluating"


def test_the_time_of_an_evaluation_does_not_count() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, clock=clock, interval=0)
    progress.start(0, 100)
    for step in (10, 20):
        progress.show(step, {"loss": 1.0})
        clock.now += 5
    clock.now += 600
    progress.skip_pause()
    clock.now += 5
    progress.show(30, {"loss": 1.0})
    assert stream.getvalue().splitlines()[-1] == "step 30/100 | loss 1 | 2.0 steps/s | 0:35 left"


def test_a_resumed_run_counts_its_pace_from_where_it_resumed() -> None:
    stream = io.StringIO()
    run(stream, range(1001, 1003), 1.0, interval=0)
    assert stream.getvalue().splitlines()[-1].endswith("1.0 steps/s | 16:38 left")


def test_a_closed_stream_is_no_error() -> None:
    stream = io.StringIO()
    stream.close()
    progress = run(stream, range(1, 4), 20.0)
    progress.note("still here")


def test_a_reader_that_leaves_does_not_stop_the_run() -> None:
    code = (
        "import sys, time\n"
        "from xmkeras.training.progress import Progress\n"
        "progress = Progress(interval=0)\n"
        "progress.start(0, 10**6)\n"
        "for step in range(1, 20000): progress.show(step, {'loss': 1.0})\n"
        "print('end of run', file=sys.stderr)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().startswith("step 1/")
    process.stdout.close()
    assert process.stderr.read() == "end of run\n"
    assert process.wait() == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (92, "1:32"), (3600 * 26 + 61, "26:01:01"), (-5, "0:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
