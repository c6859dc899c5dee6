"""`python -m xmkeras.train --flagfile=flags/cmpm_flowers.cfg`: trains a run, or continues it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xmkeras import flags
from xmkeras.run.directory import RunDirectory

if TYPE_CHECKING:
    from xmkeras.training.loop import Result


def main(argv: Sequence[str]) -> int:
    """Trains what the flags describe; returns the exit status."""
    command = flags.parse(argv)
    run = RunDirectory.of(command.config, command.name)
    from xmkeras.run import jobs  # TensorFlow loads once the flags are known to be good

    result = jobs.train(run.named_in(command.config), run)
    again = f"python -m xmkeras.train --flagfile={run.path / 'flags.cfg'}"
    if result.ending == "interrupted":
        print(f"Saved at step {result.step} in {run.path}. Go on with: {again}")
        return 130
    print(f"{run.path}: {_ending(result)} at step {result.step}{_best(result)}.")
    if result.doubt:
        print(result.doubt)
    print(f"Next: python -m xmkeras.evaluate --run={run.path}")
    return 0


def _ending(result: Result) -> str:
    """How the run ended, in words; one that has learnt nothing is not called finished."""
    if result.ending == "diverged":
        return "the loss has diverged, lower --learning_rate or set --clip_norm in a new --run; ended"
    return "ended" if result.doubt and result.ending == "finished" else result.ending


def _best(result: Result) -> str:
    step, value = result.best_step, result.best_value
    chance = "" if result.chance is None else f" (chance {result.chance:.1f})"
    return f"; best validation {result.best_metric} {value:.1f}{chance} at step {step}" if step is not None else ""


if __name__ == "__main__":
    sys.exit(flags.main_guard(main))
