"""Trains, evaluates and indexes many synthetic rows and shows how much memory each command held.

    python -m tools.measure_memory --rows=100000 --folder=FOLDER

Writes small PNG files and a CSV into FOLDER (kept, so that a second call measures at once), runs the commands on them
as a user would, and samples the resident memory of their processes.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import csv
import io
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image

_COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "black")
_THINGS = ("circle", "square", "stripe", "cross", "ring", "dot", "wave", "star", "arrow", "grid")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table of seconds and memory a command; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    options = parser.parse_args(argv)
    table = write_rows(options.folder / f"rows{options.rows}", options.rows)
    run = options.folder / f"run{options.rows}"
    small = ["--image_size=32", "--image_width=0.25", "--embedding_dim=64", "--word_dim=32", "--lstm_units=32"]
    commands = {
        "train": ["train", *small, "--source=table", f"--table={table}", f"--run={run}", f"--steps={options.steps}",
                  "--noresume", "--batch_size=64", f"--eval_every={options.steps}"],
        "evaluate": ["evaluate", f"--run={run}", "--split=test"],
        "export": ["export", f"--run={run}", "--gallery=test"],
        "index": ["search", f"--model={run}", f"--images={table.parent / 'images'}", "--text=a red circle",
                  f"--index={options.folder / 'index'}"],
    }  # fmt: skip
    rows = []
    for name, arguments in commands.items():
        status, seconds, samples = measure([sys.executable, "-m", f"xmkeras.{arguments[0]}", *arguments[1:]])
        if status:
            return status
        quarter = [int(np.max(part)) for part in np.array_split(np.array(samples), 4)]
        rows.append(
            {"command": name, "seconds": round(seconds), **{f"MiB, quarter {n}": q for n, q in enumerate(quarter, 1)}}
        )
    print(pd.DataFrame(rows).to_string(index=False))
    return 0


def write_rows(folder: pathlib.Path, count: int) -> pathlib.Path:
    """`count` images of 32 px with one caption each; returns the CSV's path."""
    table = folder / "rows.csv"
    if table.exists():
        return table
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda number: _write_image(folder / "images" / f"{number:07d}.png", number), range(count)))
    with (folder / "partial.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption"])
        for number in range(count):
            colour, thing = _COLOURS[number % 10], _THINGS[number // 10 % 10]
            writer.writerow([f"images/{number:07d}.png", f"a {colour} {thing} number {number // 100}"])
    (folder / "partial.csv").rename(table)
    return table


def _write_image(path: pathlib.Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((32, 32)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


def measure(command: Sequence[str]) -> tuple[int, float, list[int]]:
    """Exit status, seconds, and resident MiB (a sample each half second) of a process."""
    print(f"$ {' '.join(command)}", flush=True)
    started = time.monotonic()
    process = subprocess.Popen(command)
    samples = [0]
    while process.poll() is None:
        samples.append(_resident_mib(process.pid))
        time.sleep(0.5)
    return process.returncode, time.monotonic() - started, samples


def _resident_mib(pid: int) -> int:
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), 0)


if __name__ == "__main__":
    sys.exit(main())
