"""Cross-modal (image and text) embeddings with TensorFlow and Keras 3: train, measure, export, search.

    import xmkeras

    config = xmkeras.configure(flagfile="flags/cmpm_openmoji.cfg", steps=200)
    xmkeras.train(config, "runs/mine")
    print(xmkeras.evaluate("runs/mine")["rsum"])
    xmkeras.export("runs/mine", gallery="test")
    ids, scores, _ = xmkeras.load("runs/mine").search("image", "text", ["a red heart"], k=5)

The commands do the same, `python -m xmkeras.train --flagfile=flags/cmpm_openmoji.cfg`, on the same run directories.
Nothing here imports TensorFlow before it is needed. `xmkeras.train` and its like are these functions; the commands'
modules of the same names are for `python -m`.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmkeras import layers, losses, retrieval
    from xmkeras.config import Config
    from xmkeras.errors import UserError
    from xmkeras.method import Method
    from xmkeras.run.trained import Loaded
    from xmkeras.serving.client import SearchModel
    from xmkeras.training.loop import Result

__version__ = "0.1.0"
__all__ = [
    "Config", "Method", "UserError", "configure", "evaluate", "export", "layers", "load", "load_run", "losses",
    "retrieval", "train",
]  # fmt: skip

Path = str | os.PathLike[str]
_LAZY = {
    "Config": "xmkeras.config",
    "Method": "xmkeras.method",
    "UserError": "xmkeras.errors",
    **dict.fromkeys(("layers", "losses", "retrieval"), "xmkeras"),
}


def configure(flagfile: str = "", **flags: Any) -> Config:
    """What decides a run, by the names of the flags.

    Args:
        flagfile: path of a flagfile that the flags add to; the shipped ones are found as `flags/NAME.cfg`.
        **flags: values by the names of the flags, `batch_size=64`; a tuple or list repeats a flag, and parameters of a
            method are given as `**{"cmpm.classifier": "cmpc"}`. `python -m xmkeras.train --help` explains them all.

    Raises:
        UserError: an unknown flag or method, a bad value, a missing flagfile.
    """
    from xmkeras import flags as command_line

    return command_line.parse([*([f"--flagfile={flagfile}"] if flagfile else []), *_arguments(flags)]).config


def train(config: Config, run: Path = "") -> Result:
    """Trains a run, or continues it where it stopped.

    Args:
        config: from `configure`.
        run: the run directory; by default that of the config, else `runs/<method>`.

    Returns:
        How it ended: `ending`, `step`, `best_step` and `best_value`.

    Raises:
        UserError: data, options, devices or the run directory do not fit, a loss is not finite, or the disk is full.
    """
    from xmkeras.run import jobs
    from xmkeras.run.directory import RunDirectory

    directory = RunDirectory.of(config, config.method, path=run)
    return jobs.train(directory.named_in(config), directory)


def evaluate(
    run: Path,
    split: str = "test",
    *,
    ensemble: Sequence[Path] = (),
    against: Path = "",
    baseline: str = "none",
    **flags: Any,
) -> dict[str, float]:
    """Measures a trained run on one split, and writes its report.

    Args:
        run: the run directory.
        split: "train", "validation" or "test".
        ensemble: other run directories, whose scores are averaged with this one's.
        against: another run directory to compare with, by a paired bootstrap.
        baseline: a closed form of the features that the run began with, measured beside it: "cca", of images alone
            "frozen", "pca" or "whitened"; "auto" for the strongest. Its figures are named "cca/rsum" and so on.
        **flags: of the data, to measure the run on another set, and of devices; as the command takes them.

    Returns:
        The figures by name, such as "rsum" or "text_to_image/R@10", in percent; "chance/" before a name is its value
        under a random order.

    Raises:
        UserError: there is no such run, it has no checkpoint, or the data are missing.
    """
    from xmkeras.run import evaluation

    config, directory = _existing(run, flags)
    others = [os.fspath(one) for one in ensemble]
    measured, _ = evaluation.evaluate(
        config, directory, split, ensemble=others, against=os.fspath(against), baseline=baseline
    )
    return measured.results


def export(run: Path, *, gallery: str = "none", top_k: int = 10, output: Path = "", **flags: Any) -> str:
    """Writes the SavedModel of a trained run; returns its folder.

    Args:
        run: the run directory.
        gallery: split whose images and texts are packed for search, or "none".
        top_k: results of the search signatures.
        output: the directory that gets `saved_model/1`; by default the run directory.
        **flags: of the data and devices, where they differ from those of the run.

    Raises:
        UserError: there is no such run, it has no checkpoint, the data are missing, or the disk is full.
    """
    from xmkeras.run import jobs

    config, directory = _existing(run, flags)
    return str(jobs.export(config, directory, gallery, top_k=top_k, output=os.fspath(output)))


def load(model: Path) -> SearchModel:
    """An exported model: encodes images and sentences, and searches its packed gallery.

    Args:
        model: a run directory that was exported, or a SavedModel of this library.

    Raises:
        UserError: there is no SavedModel.
    """
    from xmkeras.serving.client import SearchModel

    return SearchModel(model)


def load_run(run: Path) -> Loaded:
    """A trained run as Keras objects: `method`, whose `towers` hold the encoders, the `step` of its weights, `sides`.

    Raises:
        UserError: there is no such run, or it has no checkpoint.
    """
    from xmkeras.run import trained

    return trained.load(*_existing(run, {}))


def _existing(run: Path, flags: dict[str, Any]) -> tuple[Config, Any]:
    """The config of a run with the flags that a command on a finished run takes, and its directory."""
    from xmkeras import flags as command_line
    from xmkeras.run.directory import RunDirectory

    directory = RunDirectory.existing(os.fspath(run))
    argv = [f"--run={os.fspath(run)}", *_arguments(flags)]
    return command_line.parse_for_run(argv, lambda _: directory.config()).config, directory


def _arguments(flags: dict[str, Any]) -> list[str]:
    """Flags as they are typed; a tuple or list repeats one."""
    values = [
        (name, one)
        for name, value in flags.items()
        for one in (value if isinstance(value, tuple | list) else [value])
    ]
    return [f"--{name}={str(one).lower() if isinstance(one, bool) else one}" for name, one in values]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'xmkeras' has no attribute {name!r}")
    if _LAZY[name] == "xmkeras":
        return importlib.import_module(f"xmkeras.{name}")
    return getattr(importlib.import_module(_LAZY[name]), name)


class _Package(types.ModuleType):
    """Keeps `xmkeras.train` and its like the functions above where the command of that name is imported as a module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, types.ModuleType) and isinstance(self.__dict__.get(name), types.FunctionType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
