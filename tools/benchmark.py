"""Times losses, ranking, the Bi-LSTM, cross attention and the decoder beside their peers, in one run; prints ratios.

    python -m tools.benchmark losses ranking recurrent attention decoding --output=docs/results/benchmark.md

Each contender is a process of its own. They are asked in turns, A B A B, and a ratio is the median over the turns of
the quotient within a turn, so that what else the machine does falls on both. Peers that are not installed
(PyTorch Metric Learning, sentence-transformers, faiss, scikit-learn) are left out with a line. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import pathlib
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tools import benchmark_losses, benchmark_ranking
from tools.benchmark_worker import Absent, Sample, Worker
from xmkeras.errors import UserError
from xmkeras.files import write_atomically

_PACKAGES = (
    "numpy", "tensorflow", "keras", "torch", "pytorch-metric-learning", "sentence-transformers", "faiss-cpu",
    "scikit-learn",
)  # fmt: skip
_LAYERS = "tools.benchmark_layers"
_PEERS = ("sentence_transformers", "faiss", "scikit_learn")
Runs = dict[str, list[Sample]]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables, and writes them where --output says; returns the exit status."""
    options = _parser().parse_args(argv)
    parts = [_preface(options)]
    for threads in options.threads or ["1", "all"]:
        count = None if threads == "all" else int(threads)
        clock = "cpu" if count == 1 else "wall"
        words = f"{threads} thread{'' if count == 1 else 's'}, {'CPU time' if clock == 'cpu' else 'time by the clock'}"
        for what, (title, measure) in _PARTS.items():
            if what in options.what:
                parts.append(f"## {title}, {words}\n\n{measure(options, count, clock)}")
    text = "\n\n".join(parts) + "\n"
    print(text)
    if options.output:
        write_atomically(options.output, text.encode())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="+", choices=list(_PARTS))
    parser.add_argument("--threads", action="append", type=_threads, help="a number or all; may be repeated")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, help="Markdown file to write, besides the screen")
    parser.add_argument("--batch", action="append", type=int, help="of the losses; may be repeated: 64, 256, 1024")
    parser.add_argument("--loss", action="append", choices=[case.name for case in benchmark_losses.CASES])
    parser.add_argument("--loss_dim", type=int, default=512)
    parser.add_argument("--jit", action="store_true", help="measure our losses compiled by XLA too")
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--gallery", type=int, default=25_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--peer", action="append", choices=_PEERS, help="of the ranking; may be repeated: all")
    parser.add_argument("--noise", type=float, default=8.0, help="of a relevant item, in lengths of its query")
    parser.add_argument(
        "--sequences", action="append", type=int, help="a batch of the Bi-LSTM; may be repeated: 16, 128"
    )
    parser.add_argument("--steps", type=int, default=24, help="tokens of the longest caption")
    parser.add_argument("--units", type=int, default=512, help="of the Bi-LSTM, and the size of its inputs")
    parser.add_argument("--pairs", type=int, default=64, help="images and captions of a batch of cross attention")
    parser.add_argument("--regions", type=int, default=36)
    parser.add_argument("--size", type=int, default=224, help="sides that decoded images get")
    parser.add_argument("--width", action="append", type=int, help="of JPEG files; may be repeated: 500, 2000, 4000")
    return parser


def _threads(text: str) -> str:
    if text != "all" and not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of threads nor all")
    return text


def _losses(options: argparse.Namespace, threads: int | None, clock: str) -> str:
    rows, notes = [], []
    names = options.loss or [case.name for case in benchmark_losses.CASES]
    for name in names:
        for batch in options.batch or [64, 256, 1024]:
            shared = {"name": name, "batch": batch, "dim": options.loss_dim, "seed": options.seed}
            targets: dict[str, tuple[str, Mapping[str, Any]]] = {
                "ours": ("tools.benchmark_losses:ours", shared | {"jit": False})
            }
            if options.jit:
                targets["ours, XLA"] = ("tools.benchmark_losses:ours", shared | {"jit": True})
            if benchmark_losses.case(name).twin:
                targets["twin"] = ("tools.benchmark_losses:twin", shared)
            runs, absent = interleave(targets, threads, options.repetitions)
            notes += absent
            rows += loss_rows(name, batch, runs, clock)
    return f"{markdown(pd.DataFrame(rows))}\n\n{_without(notes)}".strip()


def _ranking(options: argparse.Namespace, threads: int | None, clock: str) -> str:
    shared = {
        "queries": options.queries,
        "gallery": options.gallery,
        "dim": options.dim,
        "noise": options.noise,
        "seed": options.seed,
    }
    targets: dict[str, tuple[str, Mapping[str, Any]]] = {"product": ("tools.benchmark_ranking:product", shared)}
    peers = options.peer or list(_PEERS)
    targets |= {name: (f"tools.benchmark_ranking:{name}", shared) for name in ("xmkeras", *peers)}
    # Relevant items that stand anywhere are the most work: nothing can be passed over.
    targets["xmkeras, at chance"] = ("tools.benchmark_ranking:xmkeras", shared | {"noise": 1e6})
    runs, notes = interleave(targets, threads, options.repetitions)
    scales = {name: benchmark_ranking.scale(name, options.queries) for name in runs}
    return f"{markdown(pd.DataFrame(ranking_rows(runs, scales, clock)))}\n\n{_without(notes)}".strip()


def _recurrent(options: argparse.Namespace, threads: int | None, clock: str) -> str:
    cases = {}
    for batch in options.sequences or [16, 128]:
        sizes = {
            "batch": batch,
            "steps": options.steps,
            "dim": options.units,
            "units": options.units,
            "seed": options.seed,
        }
        peers = {"ours": "lstm", "Keras": "keras_lstm", "PyTorch, packed": "torch_lstm"}
        cases[f"training step, B {batch}"] = {name: (f"{_LAYERS}:{target}", sizes) for name, target in peers.items()}
    return _beside(cases, threads, options.repetitions, clock)


def _attention(options: argparse.Namespace, threads: int | None, clock: str) -> str:
    cases = {}
    for train in (False, True):
        for direction in ("t2i", "i2t"):
            sizes = {"direction": direction, "batch": options.pairs, "regions": options.regions, "steps": options.steps}
            sizes |= {"dim": options.dim, "train": train, "seed": options.seed}
            peers = {"ours": "attention", "loop in PyTorch": "torch_loop"}
            if not train:
                peers["loop in NumPy"] = "numpy_loop"
            name = f"{direction}, {'hinge, forward and backward' if train else 'scores'}"
            cases[name] = {peer: (f"{_LAYERS}:{target}", sizes) for peer, target in peers.items()}
    return _beside(cases, threads, options.repetitions, clock)


def _decoding(options: argparse.Namespace, threads: int | None, clock: str) -> str:
    cases = {}
    peers = {"ours": "ours", "ours, whole": "ours_whole", "Pillow": "pillow", "Pillow, draft": "pillow_draft"}
    for width in options.width or [500, 2000, 4000]:
        sizes = {"height": width * 3 // 4, "width": width, "size": options.size, "seed": options.seed}
        cases[f"four of {width} x {width * 3 // 4}"] = {
            peer: (f"tools.benchmark_decoding:{target}", sizes) for peer, target in peers.items()
        }
    return _beside(cases, threads, options.repetitions, clock)


_PARTS = {
    "losses": ("Losses", _losses),
    "ranking": ("Ranking", _ranking),
    "recurrent": ("Bi-LSTM", _recurrent),
    "attention": ("Cross attention", _attention),
    "decoding": ("Decoding", _decoding),
}


def _beside(
    cases: Mapping[str, Mapping[str, tuple[str, Mapping[str, Any]]]], threads: int | None, turns: int, clock: str
) -> str:
    """A row for each case and contender; the first of a case is ours, and the others have their ratio to it."""
    rows, left_out = [], []
    for case, targets in cases.items():
        runs, absent = interleave(targets, threads, turns)
        left_out += absent
        ours = next(iter(runs.values()))
        for name, samples in runs.items():
            row = {"case": case, "contender": name, "ms": _milliseconds(samples, clock), "MiB": _added(samples)}
            row |= {"value": f"{samples[-1].figures['value']:.5g}"}
            rows.append(row | {"times ours": _spread(quotients(samples, ours, clock))})
    return f"{markdown(pd.DataFrame(rows))}\n\n{_without(left_out)}".strip()


def _without(notes: Sequence[str]) -> str:
    return "".join(f"- left out: {note}\n" for note in dict.fromkeys(notes))


def interleave(
    targets: Mapping[str, tuple[str, Mapping[str, Any]]], threads: int | None, repetitions: int
) -> tuple[Runs, list[str]]:
    """Runs each contender (function, arguments) in turn, `repetitions` times; their samples, and who is absent why."""
    runs: Runs = {}
    absent = []
    with contextlib.ExitStack() as stack:
        workers = {}
        for name, (target, arguments) in targets.items():
            worker = stack.enter_context(Worker(target, arguments, threads))
            try:
                worker.ready()
                workers[name], runs[name] = worker, []
            except Absent as reason:
                absent.append(f"{name}: {reason}")
        for _ in range(repetitions):
            for name, worker in workers.items():
                runs[name].append(worker.run())
    if not runs:
        raise UserError(f"nothing can be measured here: {'; '.join(absent)}")
    return runs, absent


def quotients(ours: Sequence[Sample], theirs: Sequence[Sample], clock: str, scale: float = 1.0) -> tuple[float, ...]:
    """Median, least and greatest of ours/theirs within a turn; `scale` multiplies ours."""
    each = [scale * getattr(a, clock) / getattr(b, clock) for a, b in zip(ours, theirs, strict=True)]
    return float(np.median(each)), min(each), max(each)


def loss_rows(name: str, batch: int, runs: Runs, clock: str) -> list[dict[str, str]]:
    """A row for each of our ways to run a loss: times, memory, values, and the ratio to the twin where there is one."""
    twin = runs.get("twin")
    rows = []
    for way in ("ours", "ours, XLA"):
        if way not in runs:
            continue
        row = {"loss": name + way.removeprefix("ours"), "B": str(batch), "ms": _milliseconds(runs[way], clock)}
        row |= {"MiB": _added(runs[way]), "value": _value(runs[way])}
        row |= {"twin": benchmark_losses.case(name).twin_name or "none"}
        if twin:
            row |= {"twin ms": _milliseconds(twin, clock), "twin MiB": _added(twin), "twin value": _value(twin)}
            row["ours / twin"] = _spread(quotients(runs[way], twin, clock))
        rows.append(row)
    return rows


def ranking_rows(runs: Runs, scales: Mapping[str, float], clock: str) -> list[dict[str, str]]:
    """A row a contender: seconds, ratio to the bare product, peak memory of the process, and what it found."""
    rows = []
    for name, samples in runs.items():
        seconds = np.median([getattr(sample, clock) for sample in samples]) * scales[name]
        row = {"contender": name + (" (scaled)" if scales[name] != 1 else ""), "s": f"{seconds:.2f}"}
        row["ratio to product"] = _spread(quotients(samples, runs["product"], clock, scales[name]))
        row["peak GiB"] = f"{max(sample.peak_mib for sample in samples) / 1024:.2f}"
        row["found"] = ", ".join(f"{key} {value:.1f}" for key, value in samples[-1].figures.items())
        rows.append(row)
    return rows


def _milliseconds(samples: Sequence[Sample], clock: str) -> str:
    return f"{1000 * np.median([getattr(sample, clock) for sample in samples]):.2f}"


def _added(samples: Sequence[Sample]) -> str:
    return f"{max(sample.added_mib for sample in samples):.0f}"


def _value(samples: Sequence[Sample]) -> str:
    figures = samples[-1].figures
    return f"{figures['value']:.5g}" + ("" if figures["finite"] else ", gradients not finite")


def _spread(median_least_greatest: tuple[float, ...]) -> str:
    return "{:.2f} ({:.2f}-{:.2f})".format(*median_least_greatest)


def markdown(table: pd.DataFrame) -> str:
    """A table of text, the first column left and the others right; missing cells are empty."""
    lines = [list(table.columns), ["---", *["---:"] * (len(table.columns) - 1)], *table.fillna("").to_numpy().tolist()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _preface(options: argparse.Namespace) -> str:
    versions = []
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return "\n".join(
        [
            "# Benchmark\n",
            f"`python -m tools.benchmark {' '.join(options.what)}`, {options.repetitions} turns, seed {options.seed}."
            " A ratio is the median of the quotients within a turn, with the least and the greatest in brackets.\n",
            f"- {_processor()}, {os.cpu_count()} cores, load when it began {load}; {platform.platform()}",
            f"- Python {platform.python_version()}, {', '.join(versions)}",
            *[line for what, line in _notes(options).items() if what in options.what],
        ]
    )


def _notes(options: argparse.Namespace) -> dict[str, str]:
    return {
        "losses": f"- losses: forward and backward of standard normal vectors, d = {options.loss_dim}, four of a class;"
        " ours in tf.function, twins eager; MiB is what a call adds to its process at its peak",
        "ranking": f"- ranking: {options.queries:,} queries, {options.gallery:,} items, d = {options.dim}, relevant"
        f" items with a noise of {options.noise:g} query lengths; GiB is the peak of the whole process."
        " sentence-transformers and faiss find the first 10; scikit-learn computes mAP, of a part of the queries",
        "recurrent": f"- recurrent: forward and backward of a Bi-LSTM of {options.units} units a direction on inputs of"
        f" {options.units}, captions of a third of {options.steps} tokens or more",
        "attention": f"- attention: SCAN's scores of {options.pairs} images of {options.regions} regions with as many"
        f" captions of a third of {options.steps} tokens or more, d = {options.dim}, and its hinge on hardest"
        " negatives; the loops are written as the releases', a caption at a time",
        "decoding": f"- decoding: four JPEG files of noise like photographs to {options.size} x {options.size} pixels,"
        " one behind the other; drafts and `ours` unpack large files at a part of their size",
    }


def _processor() -> str:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
