"""Grid and random search over any flags, on the validation split; the same command goes on where it was stopped.

    python -m tools.sweep --sweep=tools/sweeps/daml_paper.json --out=runs/sweeps/paper -- --data_dir=DIR

A sweep file is JSON: `flags` (a list, such as ["--flagfile=flags/daml_wikipedia.cfg"]), `metric` (a validation
metric, greater is better) and one of `grid` (flag -> values) or `random` (flag -> values, or {"low", "high"} of a
log-uniform range, with `count` and `seed`); `seeds` repeats every trial. Start the command twice to use two
processes. Trials, `results.csv`, `table.md` and `parallel.png` lie in the output folder.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import json
import pathlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tools.sweep_report import write_reports
from xmkeras.errors import UserError
from xmkeras.files import write_atomically

Values = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What a sweep file says.

    Attributes:
        flags: arguments of every trial.
        metric: validation metric that is compared.
        trials: the flags that vary, one dictionary a trial, seeds included.
    """

    flags: tuple[str, ...]
    metric: str
    trials: tuple[Values, ...]

    @classmethod
    def load(cls, path: str) -> Sweep:
        """Reads a sweep file.

        Raises:
            UserError: it is missing, no JSON, or lacks what a sweep needs.
        """
        try:
            given = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
            seeds = given.get("seeds", [0])
            trials = tuple({**values, "seed": seed} for values in _combinations(given) for seed in seeds)
            return cls(tuple(given["flags"]), given.get("metric", "mAP"), trials)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"The sweep file {path} cannot be used: {error!r}; see python -m tools.sweep --help."
            ) from error


def _combinations(given: Mapping[str, Any]) -> list[Values]:
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    if "grid" in given:
        return [dict(values) for values in ParameterGrid(given["grid"])]
    from scipy.stats import loguniform

    ranges = {
        name: loguniform(choice["low"], choice["high"]) if isinstance(choice, dict) else choice
        for name, choice in given["random"].items()
    }
    sampled = ParameterSampler(ranges, given["count"], random_state=given.get("seed", 0))
    return [{name: _rounded(value) for name, value in values.items()} for values in sampled]


def _rounded(value: Any) -> Any:
    return float(f"{value:.3g}") if isinstance(value, float) else value


def name_of(values: Mapping[str, Any], flags: Sequence[str]) -> str:
    """The folder of a trial: the same flags have the same, in whatever order the sweep file lists them."""
    return hashlib.sha256(json.dumps([sorted(values.items()), list(flags)]).encode()).hexdigest()[:12]


def run_trial(folder: pathlib.Path, values: Values, flags: Sequence[str], metric: str) -> None:
    """Trains one trial, or goes on with it, and writes `trial.json`; its weights are not kept.

    Raises:
        UserError: a flag is wrong, or another process trains it.
    """
    import keras

    from xmkeras import flags as flag_parser
    from xmkeras.run import jobs
    from xmkeras.run.directory import RunDirectory

    given = [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items()]
    run = RunDirectory(folder / "run")
    config = flag_parser.parse([*flags, f"--best_metric={metric}", *given]).config
    keras.utils.clear_session()
    result = jobs.train(run.named_in(config), run)
    if result.ending == "interrupted":
        raise KeyboardInterrupt
    numbers = _validation(run.path / "metrics.csv", result.best_step)
    record = {"values": values, "metric": metric, "value": result.best_value, "step": result.best_step}
    write_atomically(folder / "trial.json", json.dumps({**record, "validation": numbers}, indent=1))
    for name in ("checkpoints", "embeddings", "tensorboard"):
        shutil.rmtree(run.path / name, ignore_errors=True)


def _validation(path: pathlib.Path, step: int | None) -> dict[str, float]:
    """The validation metrics of a step."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["step"] == str(step)]
    return {
        name.removeprefix("validation/"): float(value)
        for row in rows
        for name, value in row.items()
        if name.startswith("validation/") and value
    }


def finished(out: pathlib.Path, sweep: Sweep, flags: Sequence[str]) -> list[dict[str, Any]]:
    """The records of the trials that are done, in the order of the sweep."""
    paths = [out / "trials" / name_of(values, flags) / "trial.json" for values in sweep.trials]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def run(sweep: Sweep, out: pathlib.Path, more: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Runs the trials that are not done, and writes the reports after each.

    Returns:
        The records of all finished trials.
    """
    flags = [*sweep.flags, *more]
    for number, values in enumerate(sweep.trials, 1):
        folder = out / "trials" / name_of(values, flags)
        if (folder / "trial.json").is_file():
            continue
        print(f"Trial {number} of {len(sweep.trials)}: {values}", flush=True)
        try:
            run_trial(folder, values, flags, sweep.metric)
        except UserError as error:
            if "Another process" not in str(error) and "not a finite number" not in str(error):
                raise
            print(f"  left out: {error}", flush=True)
            continue
        write_reports(out, finished(out, sweep, flags), sweep.metric)
    records = finished(out, sweep, flags)
    write_reports(out, records, sweep.metric)
    return records


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a sweep; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", required=True, help="sweep file")
    parser.add_argument("--out", required=True, help="folder of the trials and reports")
    given = parser.parse_args(arguments[:cut])
    try:
        sweep = Sweep.load(given.sweep)
        records = run(sweep, pathlib.Path(given.out), arguments[cut + 1 :])
    except UserError as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; the same command goes on.", file=sys.stderr)
        return 130
    print((pathlib.Path(given.out) / "table.md").read_text(encoding="utf-8"))
    print(f"{len(records)} of {len(sweep.trials)} trials are done.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
