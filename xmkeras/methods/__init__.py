"""Ways to train towers, by name: each module here is one and has `METHOD`, its class."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from xmkeras import quiet
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.method import Method


def names() -> list[str]:
    """The values of `--method`: the modules of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load(name: str) -> type[Method]:
    """The method class of the module `name`.

    Raises:
        UserError: there is no such module; the message lists the choices.
    """
    if name not in names():
        raise UserError(f"Unknown method {name!r}; choose one of: {', '.join(names())}.")
    quiet.import_tensorflow()
    method: type[Method] = importlib.import_module(f"{__name__}.{name}").METHOD
    return method
