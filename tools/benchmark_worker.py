"""A process of its own for one contender of a benchmark, which runs when it is told to.

    python -m tools.benchmark_worker tools.benchmark_ranking:product '{"queries": 100, ...}'

The named function gets the arguments and returns what is to be timed, a function without arguments that returns
the figures it computed. The first line on stdout says whether it can run; then each line on stdin is one run, answered
by a line with its figures, seconds and mebibytes, in JSON. A run calls the function often enough to last a tenth of a
second.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import importlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_LEAST_SECONDS = 0.1
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XMKERAS_BENCHMARK_THREADS")


@dataclasses.dataclass(frozen=True)
class Sample:
    """One run: seconds a call by the clock and of CPU time, MiB of the process, MiB that a call adds, and figures."""

    wall: float
    cpu: float
    peak_mib: float
    added_mib: float
    figures: dict[str, float]


class Absent(Exception):  # noqa: N818 - no error, but a reason
    """A contender cannot run here; the message says why."""


class Worker:
    """A contender in its own process; `threads` is None for as many as the machine has."""

    def __init__(self, target: str, arguments: Mapping[str, Any], threads: int | None):
        environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="")
        for name in _THREAD_VARIABLES:
            environment.pop(name, None)
            if threads is not None:
                environment[name] = str(threads)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.benchmark_worker", target, json.dumps(dict(arguments))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=pathlib.Path(__file__).resolve().parent.parent,
        )

    def ready(self) -> None:
        """Waits until it has started, compiled and run once; raises Absent when it cannot."""
        reason = self._answer().get("absent")
        if reason:
            raise Absent(reason)

    def run(self) -> Sample:
        """Runs it once more."""
        assert self._process.stdin
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return Sample(**self._answer())

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"absent": f"its process ended with status {self._process.wait()}"}

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def threads() -> int | None:
    """How many threads this worker may use; None for as many as there are."""
    value = os.environ.get("XMKERAS_BENCHMARK_THREADS")
    return int(value) if value else None


def tensorflow() -> Any:
    """TensorFlow with as many threads as this worker may use."""
    import tensorflow as tf

    if count := threads():
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)
    return tf


def torch() -> Any:
    """PyTorch with as many threads as this worker may use."""
    import torch as library

    library.set_num_threads(threads() or library.get_num_threads())
    return library


def main(argv: Sequence[str]) -> int:
    """Answers each line of stdin with a run; returns the exit status."""
    answers, sys.stdout = sys.stdout, sys.stderr
    target, arguments = argv
    module, _, function = target.partition(":")
    try:
        call = getattr(importlib.import_module(module), function)(**json.loads(arguments))
        seconds = _seconds(call)
    except ImportError as error:
        print(json.dumps({"absent": f"{error.name or error} is not installed"}), file=answers, flush=True)
        return 0
    if seconds < 10 * _LEAST_SECONDS:
        # The first time compiles, or fills caches.
        seconds = _seconds(call)
    times = max(1, int(_LEAST_SECONDS / max(seconds, 1e-9)))
    print(json.dumps({}), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(dataclasses.asdict(_sample(call, times))), file=answers, flush=True)
    return 0


def _sample(call: Callable[[], dict[str, float]], times: int) -> Sample:
    # Gives back what is free and forgets the peak so far, so that one call shows what it needs.
    ctypes.CDLL(None).malloc_trim(0)
    before = _memory("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    figures = call()
    peak = _memory("VmHWM")
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        figures = call()
    wall, cpu = (time.perf_counter() - wall) / times, (time.process_time() - cpu) / times
    return Sample(wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, peak - before, figures)


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _memory(name: str) -> float:
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
