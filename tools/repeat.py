"""Trains a flagfile with several seeds, measures each on the test split once, and prints mean and spread.

    python -m tools.repeat --flagfile=flags/daml_wikipedia.cfg --out=runs/repeat/daml --seeds=5 -- --data_dir=DIR

The same command goes on where it was stopped; a seed that has been measured is never measured again.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence

from xmkeras.errors import UserError
from xmkeras.files import write_atomically

COLUMNS = ("image_to_text/mAP", "text_to_image/mAP", "mAP", "image_to_text/mAP@50", "text_to_image/mAP@50", "mAP@50")


def measure_seed(folder: pathlib.Path, arguments: Sequence[str], split: str) -> dict[str, float]:
    """Trains into `folder` and measures `split`; what has been measured before is read from `test.json`.

    Raises:
        UserError: a flag is wrong, or data are missing.
    """
    record = folder / f"{split}.json"
    if record.is_file():
        known: dict[str, float] = json.loads(record.read_text(encoding="utf-8"))
        return known
    import keras

    from xmkeras import flags
    from xmkeras.run import jobs
    from xmkeras.run.directory import RunDirectory

    keras.utils.clear_session()
    config = flags.parse(arguments).config
    run = RunDirectory(folder)
    result = jobs.train(run.named_in(config), run)
    if result.ending == "interrupted":
        raise KeyboardInterrupt
    measured, step = jobs.measure(config, run, split)
    write_atomically(record, json.dumps({**measured.results, "step": step}, indent=1))
    return measured.results


def format_row(name: str, results: Sequence[Mapping[str, float]]) -> str:
    """A row of a Markdown table: mean ± standard deviation over the seeds, as shares of 1."""
    cells = []
    for column in COLUMNS:
        values = [result[column] / 100 for result in results]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        cells.append(f"{statistics.mean(values):.3f} ± {spread:.3f}")
    return "| " + " | ".join([name, *cells]) + " |"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the row of one flagfile; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flagfile", required=True)
    parser.add_argument("--out", required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ...")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    given = parser.parse_args(arguments[:cut])
    out = pathlib.Path(given.out)
    flags = [f"--flagfile={given.flagfile}", *arguments[cut + 1 :]]
    try:
        results = [
            measure_seed(out / f"seed-{seed}", [*flags, f"--seed={seed}"], given.split) for seed in range(given.seeds)
        ]
    except UserError as error:
        print(f"repeat: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; the same command goes on.", file=sys.stderr)
        return 130
    print("| | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    print(format_row(out.name, results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
