"""Evaluation protocols by name: each module here is one, and ends with `PROTOCOL = TheClass()`."""

import importlib
import pkgutil
from typing import Protocol

from xmkeras.errors import UserError
from xmkeras.retrieval.measured import Measured, Show, Split
from xmkeras.retrieval.report import Section


class EvaluationProtocol(Protocol):
    """One published way to measure a split: its figures, and its part of the report.

    sides: what it embeds, ("image", "text") or ("image",). best_metric: the figure that tells the best checkpoint
    where nobody names another.
    """

    sides: tuple[str, ...]
    best_metric: str

    def figures(self, label_kind: str, gallery_size: int) -> tuple[str, ...]:
        """The names of all figures that differ from model to model, known before anything is trained.

        label_kind: what a label stands for, "class", "identity" or "image"; gallery_size: the number of images.
        Raises UserError where a split of that size cannot be measured.
        """

    def measure(self, split: Split) -> Measured:
        """Every figure by the split's score; raises UserError where split or score do not fit the protocol."""

    def sections(self, measured: Measured, show: Show) -> list[Section]:
        """Its part of the report; figures that only it makes are added to `measured.results`."""


def protocol_names() -> list[str]:
    """The names that `load_protocol` knows: the modules of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_protocol(name: str) -> EvaluationProtocol:
    """The protocol `name`; raises UserError when there is none of that name."""
    if name not in protocol_names():
        raise UserError(f"Unknown protocol {name!r}; choose one of {', '.join(protocol_names())}.")
    protocol: EvaluationProtocol = importlib.import_module(f"{__name__}.{name}").PROTOCOL
    return protocol
