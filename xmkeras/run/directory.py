"""The run directory: what a run was asked to do, with what, and where its results lie."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import xmkeras
from xmkeras import methods
from xmkeras.config import Config
from xmkeras.errors import UserError
from xmkeras.files import writable, write_atomically

# These may differ when a run continues: they change its length, its reports or where it runs, not what a step computes.
_FREE = frozenset(
    {"run", "steps", "epochs", "resume", "log_every", "save_every", "devices", "data_dir", "image_root", "table"}
    | {"feature_dir"}
)
_RECORDS = ("config.json", "inputs.json", "metrics.csv", "environment.json", "eval.json", "report.md")
_RECORDS_BEFORE = ("vocabulary.txt", "feature_widths.json", "bert.json")
_PACKAGES = ("tensorflow", "keras", "keras-hub", "numpy", "pandas", "scikit-learn", "faiss-cpu", "tensorflow-datasets")


def data_root(config: Config) -> pathlib.Path:
    """The folder of downloaded and prepared data."""
    return pathlib.Path(config.data.data_dir or os.environ.get("XMKERAS_DATA") or "~/.cache/xmkeras").expanduser()


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """Paths and records of one run."""

    path: pathlib.Path

    @property
    def config_file(self) -> pathlib.Path:
        return self.path / "config.json"

    @property
    def inputs_file(self) -> pathlib.Path:
        """What has to be known of the run's sides to make them again."""
        return self.path / "inputs.json"

    @property
    def checkpoints(self) -> pathlib.Path:
        return self.path / "checkpoints"

    @property
    def features(self) -> pathlib.Path:
        return self.path / "features"

    def embeddings(self, split: str) -> pathlib.Path:
        return self.path / "embeddings" / split

    @classmethod
    def of(cls, config: Config, name: str, path: str | os.PathLike[str] = "") -> RunDirectory:
        """The directory `path`, else that of `--run`, else `runs/<name>`."""
        return cls(pathlib.Path(path or config.train.run or pathlib.Path("runs") / name))

    @classmethod
    def existing(cls, path: str) -> RunDirectory:
        """A directory that a training run has made.

        Raises:
            UserError: there is none at `path`.
        """
        run = cls(pathlib.Path(path))
        if run.path.exists() and not run.path.is_dir():
            raise UserError(f"{path!r} is a file, and a run is a directory; pass the one that holds it.")
        if not run.config_file.is_file():
            raise UserError(
                f"{path!r} is not a run directory (no config.json in it); pass the directory that "
                "`python -m xmkeras.train` printed, e.g. --run=runs/demo."
            )
        return run

    def named_in(self, config: Config) -> Config:
        """`config` with this directory as its --run, so that its flagfile alone continues the run."""
        return dataclasses.replace(config, train=dataclasses.replace(config.train, run=str(self.path)))

    def config(self) -> Config:
        """The config that the run was started with."""
        try:
            values = json.loads(self.config_file.read_text(encoding="utf-8"))
            config = Config.from_flags(values, saved=True)
            return config.completed(methods.load(config.method).Params)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.config_file} cannot be read ({error}); train into a new --run.") from error

    def continued(self, config: Config) -> Config:
        """`config` with the best metric that the run has gone by until now, where it names none itself."""
        if config.train.best_metric or not self.config_file.is_file():
            return config
        known = self.config().train.best_metric
        return dataclasses.replace(config, train=dataclasses.replace(config.train, best_metric=known))

    def open(self, config: Config, data_fingerprint: str, credit: str = "") -> None:
        """Records the run, or checks that it continues with what it was started with.

        Raises:
            UserError: the directory belongs to a run with other flags or other data; the message lists the differences.
        """
        config = config.completed(methods.load(config.method).Params)
        if self.config_file.is_file():
            self._check_same(config, data_fingerprint)
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / "flags.cfg", config.to_flagfile())
        write_atomically(
            self.path / "environment.json",
            json.dumps(_environment(config, data_fingerprint) | {"credit": credit}, indent=1),
        )
        write_atomically(self.config_file, json.dumps(config.as_flags(), indent=1))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second training process out of the directory while entered; a killed one leaves no lock behind.

        Raises:
            UserError: another process holds the lock, or the directory cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise UserError(
                f"The run directory {self.path} cannot be written ({error.strerror}); choose another --run."
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(
                    f"Another process is training in {self.path}; wait for it, or choose another --run."
                ) from error
            yield

    @contextlib.contextmanager
    def workspace(self, split: str) -> Iterator[pathlib.Path]:
        """The folder of a split's embeddings; of a run that cannot be written one that is gone afterwards."""
        if writable(self.embeddings(split)):
            yield self.embeddings(split)
            return
        with tempfile.TemporaryDirectory() as folder:
            yield pathlib.Path(folder) / split

    def clear(self) -> None:
        """Forgets everything a run has computed in this directory, but nothing else that lies in it."""
        for name in ("checkpoints", "embeddings", "tensorboard", "features"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for name in (*_RECORDS, *_RECORDS_BEFORE):
            (self.path / name).unlink(missing_ok=True)

    def credit(self) -> str:
        """The attribution that the run's data set asks for, "" where it asks for none."""
        return str(self._environment().get("credit", ""))

    def _environment(self) -> dict[str, Any]:
        path = self.path / "environment.json"
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return known

    def _check_same(self, config: Config, data_fingerprint: str) -> None:
        before, now = self.config().as_flags(), config.as_flags()
        # Earlier versions recorded the size of pretrained word vectors there, which is theirs and no choice.
        free = _FREE | ({"word_dim"} if now["word_vectors"] != "none" else set())
        changed = [
            f"--{name} was {before.get(name)!r}, is {now.get(name)!r}"
            for name in sorted({*before, *now} - free)
            if before.get(name) != now.get(name)
        ]
        if changed:
            raise UserError(
                f"{self.path} was trained with other flags: {'; '.join(changed)}. "
                "Choose another --run, or repeat the flags of its flags.cfg (only the length, places and what is "
                "reported may change)."
            )
        if self._environment().get("data_fingerprint", data_fingerprint) != data_fingerprint:
            raise UserError(
                f"{self.path} was trained on other rows than {config.data.source} holds now; choose another --run."
            )


def _commit() -> str:
    """The commit of the checkout that this package lies in, with -dirty where files differ; "" outside of one."""
    package = pathlib.Path(xmkeras.__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # another project's checkout may hold the environment
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _environment(config: Config, data_fingerprint: str) -> dict[str, Any]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "xmkeras": xmkeras.__version__,
        "commit": _commit(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": versions,
        "seed": config.train.seed,
        "data_fingerprint": data_fingerprint,
    }
