"""The examples in the docstrings of losses and layers run and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import xmkeras.layers
import xmkeras.losses

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (xmkeras.losses, xmkeras.layers)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


def test_losses_and_layers_have_examples():
    modules = [importlib.import_module(name) for name in MODULES]
    with_examples = [m.__name__ for m in modules if any(t.examples for t in doctest.DocTestFinder().find(m))]
    assert len(with_examples) >= 15
