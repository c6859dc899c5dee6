"""Checkpoints that are whole or absent: a kill, a full disk or a torn file never costs more than one of them.

A checkpoint is a folder `step-00000123`. It is written under another name, flushed to the disk, then renamed.
A second save of a step makes `step-00000123.1`, and so on; of those the last counts. The best one so far is
marked by an empty file `best` in it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from xmkeras.errors import UserError
from xmkeras.training.checkpoint_format import Checkpoint, TornError, read, write

__all__ = ["Checkpoint", "Checkpoints", "restore", "used_weights"]

_NAME = re.compile(r"step-(\d{8,})(?:\.(\d+))?")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_logger = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        directory: where they lie; it is made by the first save.
        keep: how many of the newest to keep, at least 1. The best is kept beside them.
    """

    def __init__(self, directory: str | os.PathLike[str], keep: int = 2):
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}")
        self.directory = pathlib.Path(directory)
        self._keep = keep

    def save(self, step: int, tensors: Mapping[str, Any], state: Mapping[str, Any], *, best: bool = False) -> None:
        """Writes a checkpoint, whole or not at all, and removes those that are no longer kept.

        Args:
            step: number of steps done, >= 0.
            tensors: arrays by name, of any shape and numeric type; Keras and TensorFlow variables may stand
                for them and are fetched one at a time.
            state: whatever JSON can hold.
            best: this is the best checkpoint so far; a second save of the best step stays the best.

        Raises:
            UserError: the disk is full or cannot be written; earlier checkpoints are as they were.
        """
        temporary = self.directory / f".step-{step:08d}.{os.getpid()}.tmp"
        try:
            self._sweep()
            temporary.mkdir(parents=True)
            write(temporary, step, tensors, state)
            earlier = [folder for folder in self._folders() if _parse(folder)[0] == step]
            best = best or any((folder / "best").exists() for folder in earlier)
            if best:
                (temporary / "best").touch()
            _flush_folder(temporary)
            suffix = f".{_parse(earlier[0])[1] + 1}" if earlier else ""
            temporary.rename(self.directory / f"step-{step:08d}{suffix}")
            _flush_folder(self.directory)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise UserError(self._explain(step, error)) from error
        if best:
            self.mark_best(step)
        self._prune()

    def latest(self) -> Checkpoint | None:
        """The newest whole checkpoint, every byte of it checked; warns of torn ones that it passes over."""
        return next(self._whole(self._folders()), None)

    def best(self) -> Checkpoint | None:
        """The newest whole checkpoint that is marked as the best."""
        return next(self._whole(folder for folder in self._folders() if (folder / "best").exists()), None)

    def mark_best(self, step: int) -> None:
        """Marks the checkpoint of `step`, and no other, as the best.

        Raises:
            UserError: there is no checkpoint of that step.
        """
        folders = self._folders()
        chosen = next((folder for folder in folders if _parse(folder)[0] == step), None)
        if chosen is None:
            raise UserError(f"There is no checkpoint of step {step} in {self.directory} to mark as the best.")
        (chosen / "best").touch()
        for folder in folders:
            if folder != chosen:
                (folder / "best").unlink(missing_ok=True)

    def steps(self) -> list[int]:
        """The steps of all checkpoints, oldest first; their bytes are not checked."""
        return sorted({_parse(folder)[0] for folder in self._folders()})

    def _folders(self) -> list[pathlib.Path]:
        """All checkpoints, newest first."""
        folders = [path for path in self.directory.glob("step-*") if _NAME.fullmatch(path.name)]
        return sorted(folders, key=_parse, reverse=True)

    def _whole(self, folders: Iterator[pathlib.Path] | list[pathlib.Path]) -> Iterator[Checkpoint]:
        for folder in folders:
            try:
                yield read(folder)
            except TornError as torn:
                _logger.warning("The checkpoint %s is torn (%s); an older one is used.", folder, torn)

    def _prune(self) -> None:
        """Removes all but the newest of each step, the `keep` newest steps and the best."""
        seen: set[int] = set()
        for folder in self._folders():
            step = _parse(folder)[0]
            old = step in seen or (len(seen) >= self._keep and not (folder / "best").exists())
            if old:
                self._remove(folder)
            else:
                seen.add(step)

    def _remove(self, folder: pathlib.Path) -> None:
        # Renamed first: a kill in the middle must not leave a checkpoint with half its files.
        trash = self.directory / f".{folder.name}.{os.getpid()}.trash"
        with contextlib.suppress(OSError):
            folder.rename(trash)
            shutil.rmtree(trash)

    def _sweep(self) -> None:
        """Removes what a killed process has left behind."""
        for pattern in (".step-*.tmp", ".step-*.trash"):
            for path in self.directory.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)

    def _explain(self, step: int, error: OSError) -> str:
        kept = self.steps()
        left = f"the checkpoint of step {kept[-1]} is whole" if kept else "there is no earlier checkpoint"
        if error.errno in _FULL:
            return (
                f"The disk is full, so the checkpoint of step {step} could not be written to "
                f"{self.directory}; {left}: free some space and run the same command to go on from it."
            )
        return f"The checkpoint of step {step} could not be written to {self.directory} ({error.strerror}); {left}."


def used_weights(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """The weights that evaluation and export use, by the names of a method: the moving average where there is one."""
    weights = {n.removeprefix("weights/"): a for n, a in checkpoint.tensors.items() if n.startswith("weights/")}
    averages = {n.removeprefix("average/"): a for n, a in checkpoint.tensors.items() if n.startswith("average/")}
    # The average keeps a counter of its own beside them.
    return weights | {name: array for name, array in averages.items() if name in weights}


def restore(variables: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Assigns arrays to the variables of the same names; nothing is assigned unless everything fits.

    Args:
        variables: Keras or TensorFlow variables by name.
        tensors: one array for each of them, of its shape.

    Raises:
        UserError: names are missing or left over, or shapes differ; it lists some of them.
    """
    faults = [f"{name} is missing" for name in variables if name not in tensors]
    faults += [f"{name} is unexpected" for name in tensors if name not in variables]
    faults += [
        f"{name} has shape {tensors[name].shape} but the model needs {tuple(variable.shape)}"
        for name, variable in variables.items()
        if name in tensors and tuple(variable.shape) != tensors[name].shape
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise UserError(
            f"The checkpoint does not fit the model: {'; '.join(faults[:3])}{more}. "
            "It was written with other flags or another version; train into a new --run."
        )
    for name, variable in variables.items():
        variable.assign(tensors[name])


def _parse(folder: pathlib.Path) -> tuple[int, int]:
    """Step and attempt of a checkpoint's name."""
    match = _NAME.fullmatch(folder.name)
    assert match is not None
    return int(match[1]), int(match[2] or 0)


def _flush_folder(folder: pathlib.Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
