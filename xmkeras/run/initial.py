"""The weights that a run begins with where another run or a checkpoint gives them: fine-tuning, or a second try."""

from __future__ import annotations

import json
import pathlib

import numpy as np
from absl import logging

from xmkeras.config import WORDS
from xmkeras.errors import UserError
from xmkeras.method import Method
from xmkeras.run.directory import RunDirectory
from xmkeras.run.sides import Kept
from xmkeras.training.checkpoint_format import TornError, read
from xmkeras.training.checkpoints import Checkpoint, Checkpoints, used_weights


def kept_words(source: str) -> dict[str, Kept]:
    """The words that a run knows, of which a run that begins with its weights needs the same; {} where it has none."""
    file = RunDirectory(_run_of(pathlib.Path(source))).inputs_file
    kept: dict[str, Kept] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return {name: one for name, one in kept.items() if one.get("kind") == WORDS}


def begin_with(method: Method, source: str, *, use_best: bool = True) -> None:
    """Assigns the weights of a run, or of one of its checkpoints, to a method's variables of the same names.

    Encoders have to fit. A head that has another shape, such as a classifier of other labels, begins anew, and so does
    what the source has not; the log names both.

    Args:
        method: of fresh weights.
        source: the directory of a run, or of a checkpoint.
        use_best: of a run, take the best checkpoint, not the last.

    Raises:
        UserError: there is no checkpoint, or an encoder does not fit.
    """
    weights = used_weights(_checkpoint(pathlib.Path(source), use_best))
    # Random states belong to this run's seed.
    named = {name: v for name, v in method.named_variables().items() if np.issubdtype(np.dtype(v.dtype), np.floating)}
    there = {name: variable for name, variable in named.items() if name in weights}
    other = [name for name, variable in there.items() if tuple(variable.shape) != weights[name].shape]
    if faults := [name for name in other if not name.startswith("heads/")]:
        name = faults[0]
        raise UserError(
            f"--init_from={source} has {name} of shape {weights[name].shape}, and this run {tuple(named[name].shape)}; "
            "give the flags of its flags.cfg that shape the model."
        )
    if len(other) == len(there):
        raise UserError(f"--init_from={source} has none of the weights of this run; choose a run of the same towers.")
    for name in there.keys() - set(other):
        there[name].assign(weights[name])
    if new := sorted({_part(name) for name in named.keys() - there.keys()} | {_part(name) for name in other}):
        logging.warning("Not in %s, and begun anew: %s.", source, ", ".join(new))


def _part(name: str) -> str:
    """The part of a method that a variable belongs to, and of it the layer."""
    return name.rpartition("/")[0]


def _run_of(source: pathlib.Path) -> pathlib.Path:
    return source.parent.parent if _is_checkpoint(source) else source


def _is_checkpoint(folder: pathlib.Path) -> bool:
    return (folder / "manifest.json").is_file()


def _checkpoint(source: pathlib.Path, use_best: bool) -> Checkpoint:
    if _is_checkpoint(source):
        try:
            return read(source)
        except TornError as torn:
            raise UserError(f"--init_from={source} is a torn checkpoint ({torn}); choose another one.") from torn
    checkpoints = Checkpoints(RunDirectory(source).checkpoints)
    found = (checkpoints.best() if use_best else None) or checkpoints.latest()
    if found is None:
        raise UserError(f"--init_from={source} is neither a run with a checkpoint nor a checkpoint of one.")
    return found

