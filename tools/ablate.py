"""Trains variants of one flagfile with several seeds, measures each once, and prints the table of an ablation.

    python -m tools.ablate --ablation=tools/ablations/timam_photos.json --out=runs/photos -- --table=pairs.jsonl

An ablation file is JSON: `variants`, a list of flags for each name, and `flags`, a list that stands behind each one.
The same command goes on where it was stopped, and a seed that has been measured is never measured again. Features of
frozen towers are shared by all runs.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence

from tools.repeat import measure_seed
from xmkeras.errors import UserError

COLUMNS = (*(f"{way}/R@{k}" for way in ("text_to_image", "image_to_text") for k in (1, 5, 10)), "rsum")

Results = Mapping[str, Sequence[Mapping[str, float]]]


def load(path: str) -> tuple[list[str], dict[str, list[str]]]:
    """The common flags and the variants of an ablation file.

    Raises:
        UserError: it is missing, no JSON, or lacks one of the two.
    """
    try:
        given = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        return list(given["flags"]), {name: list(flags) for name, flags in given["variants"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"The ablation file {path} cannot be used: {error!r}; see python -m tools.ablate --help."
        ) from error


def run(
    out: pathlib.Path, common: Sequence[str], variants: Mapping[str, Sequence[str]], seeds: Sequence[int], split: str
) -> dict[str, list[dict[str, float]]]:
    """The results of every variant, one a seed, in the order of both; weights are not kept.

    Seeds are the outer loop, so that an ablation that is stopped has all variants of the seeds that it reached.

    Raises:
        UserError: a flag is wrong, or data are missing.
    """
    results: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for seed in seeds:
        for name, own in variants.items():
            folder = out / name / f"seed-{seed}"
            flags = [*own, *common, f"--feature_dir={out / 'features'}", f"--seed={seed}"]
            results[name].append(measure_seed(folder, flags, split))
            print(f"{name}, seed {seed}: rsum {results[name][-1]['rsum']:.1f}", flush=True)
            for part in ("checkpoints", "embeddings", "tensorboard"):
                shutil.rmtree(folder / part, ignore_errors=True)
    return results


def table(results: Results) -> str:
    """A Markdown table: a row a variant, mean ± standard deviation of each recall and of rsum, and each seed's rsum."""
    lines = ["| | " + " | ".join([*COLUMNS, "rsum of each seed"]) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for name, seeds in results.items():
        cells = [_spread([result[column] for result in seeds]) for column in COLUMNS]
        cells.append(", ".join(f"{result['rsum']:.1f}" for result in seeds))
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table of an ablation; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ablation", required=True, help="ablation file")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="folder of the runs and cached features")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    given = parser.parse_args(arguments[:cut])
    try:
        common, variants = load(given.ablation)
        seeds = [int(seed) for seed in given.seeds.split(",")]
        results = run(given.out, [*common, *arguments[cut + 1 :]], variants, seeds, given.split)
    except UserError as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; the same command goes on.", file=sys.stderr)
        return 130
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
