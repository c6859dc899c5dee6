"""`make demo`: trains, evaluates, exports and searches on OpenMoji, then says where the results lie.

    python -m tools.demo [--run=runs/demo] [--fresh] [FLAG OF TRAINING ...]

A step whose result is newer than the last checkpoint is not done again; training knows when it is finished.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

FLAGFILE = "flags/cmpm_openmoji.cfg"
SENTENCES = ("a red heart", "a sad face", "a person on a bicycle")
WAYS = {"text_to_image": "text -> image", "image_to_text": "image -> text"}
COLUMNS = ("R@1", "R@5", "R@10", "median_rank", "mean_rank")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the steps that are not done yet and prints the summary; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=pathlib.Path, default=pathlib.Path("runs/demo"), help="run directory")
    parser.add_argument("--fresh", action="store_true", help="begin again: delete the run directory first")
    options, training_flags = parser.parse_known_args(argv)
    started = time.monotonic()
    if options.fresh and (options.run / "config.json").is_file():
        shutil.rmtree(options.run)
    run, page = options.run, options.run / "search.html"
    texts = [f"--text={sentence}" for sentence in SENTENCES]
    steps: list[tuple[str, list[str], pathlib.Path | None]] = [
        ("Train CMPM+CMPC", ["train", f"--flagfile={FLAGFILE}", f"--run={run}", *training_flags], None),
        ("Measure on identities never seen in training", ["evaluate", f"--run={run}"], run / "eval.json"),
        ("Export", ["export", f"--run={run}", "--gallery=test"], run / "saved_model/1/saved_model.pb"),
        ("Search", ["search", f"--model={run}", "--gallery=test", *texts, "--top=6", f"--html={page}"], None),
    ]
    for number, (title, arguments, result) in enumerate(steps, 1):
        print(f"\n[{number}/{len(steps)}] {title}", flush=True)
        if result is not None and is_newer(result, run / "checkpoints"):
            print(f"{result} is there already.")
            continue
        status = run_command(arguments)
        if status:
            print(f"\nThe demo stopped here (status {status}); `make demo` goes on from it.", file=sys.stderr)
            return status
    print(summary(run, page, time.monotonic() - started))
    return 0


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


def recall_table(metrics: dict[str, float]) -> str:
    """The lines of `eval.json` that matter, with what a random order of the same gallery gives."""
    lines = [f"{'':22}" + "".join(f"{name.replace('_', ' '):>13}" for name in COLUMNS)]
    for way, title in WAYS.items():
        for prefix, name in (("", title), ("chance/", "  chance")):
            figures = "".join(f"{metrics[f'{prefix}{way}/{column}']:13.1f}" for column in COLUMNS)
            lines.append(f"{name:22}{figures}")
    return "\n".join(lines)


def summary(run: pathlib.Path, page: pathlib.Path, seconds: float) -> str:
    """What the demo has to show: the recall table, and where everything lies."""
    metrics = json.loads((run / "eval.json").read_text(encoding="utf-8"))
    pictures = sorted(run.glob("report*/**/*.png"))
    lines = [
        "",
        recall_table(metrics),
        "",
        f"Report       {run / 'report.md'}",
        f"Pictures     {pictures[0].parent if pictures else run}",
        f"Search page  {page}",
        f"TensorBoard  {pathlib.Path(sys.executable).parent / 'tensorboard'} --logdir={run}",
        f"SavedModel   {run / 'saved_model/1'}",
        f"Rerun with   {run / 'flags.cfg'}",
        "",
        f'Search more:  python -m xmkeras.search --model={run} --gallery=test --text="..."',
        "Emoji by OpenMoji (https://openmoji.org), CC BY-SA 4.0.",
        f"Total time: {int(seconds) // 60} min {int(seconds) % 60} s",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
