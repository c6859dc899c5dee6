"""What is installed: the wheel, its commands and flagfiles, the ranges of setup.cfg and the lock."""

from __future__ import annotations

import configparser
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_imports import modules, names_at_import

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOCKED_EXTRAS = ("openmoji", "efficientnet_lite0", "serving", "test", "dev")
PYTHONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    """Canonical name -> version of every line of the lock."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    pairs = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+)", line) for line in lines]
    assert all(pairs), [line for line, pair in zip(lines, pairs, strict=True) if not pair]
    return {canonicalize_name(pair[1]): pair[2] for pair in pairs if pair}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """A wheel made from a copy of the sources, with the setuptools at hand."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("xmkeras", "flags"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", out, source],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return next(out.glob("xmkeras-*.whl"))


def declared(setup_cfg: configparser.ConfigParser, *extras: str) -> list[Requirement]:
    """The requirements of the package and of `extras`."""
    lists = [setup_cfg["options"]["install_requires"]]
    lists += [setup_cfg["options.extras_require"][extra] for extra in extras]
    return [Requirement(line) for text in lists for line in text.splitlines() if line.strip()]


def test_the_wheel_holds_every_module_and_every_flagfile(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "xmkeras").rglob("*.py")}
    flagfiles = {f"xmkeras/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "flags").rglob("*.cfg")}
    assert flagfiles
    assert sources - names == set()
    assert flagfiles - names == set()


def test_the_wheel_carries_its_licence_and_type_marker(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "xmkeras/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_an_installed_package_finds_its_flagfiles_from_any_folder(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    script = (
        "import pathlib, xmkeras, xmkeras.flags as flags\n"
        "assert pathlib.Path(flags.__file__).is_relative_to(pathlib.Path(__import__('sys').argv[1]))\n"
        "command = flags.parse(['--flagfile=flags/cmpm_openmoji.cfg', '--seed=7'])\n"
        "print(command.config.data.source, command.config.train.seed)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", script, site], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["openmoji", "7"], done.stderr


def test_the_console_script_runs_the_commands(wheel, tmp_path):
    archive = zipfile.ZipFile(wheel)
    listing = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
    parser = configparser.ConfigParser()
    parser.read_string(archive.read(listing).decode())
    entry = importlib.metadata.EntryPoint("xmkeras", parser["console_scripts"]["xmkeras"], "console_scripts")
    assert list(parser["console_scripts"]) == ["xmkeras"]
    script = f"import sys; from {entry.module} import {entry.attr} as main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "nonsense"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    for command in ("train", "evaluate", "export", "search"):
        assert command in done.stderr


def test_the_lock_lies_in_the_ranges(setup_cfg, lock):
    wrong = [
        f"{requirement} but {lock.get(canonicalize_name(requirement.name))}"
        for requirement in declared(setup_cfg, *LOCKED_EXTRAS)
        if lock.get(canonicalize_name(requirement.name), "") not in requirement.specifier
    ]
    assert wrong == []


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_holds_all_that_its_packages_ask_for(lock, python):
    """Of the packages that are installed here in the locked version; no resolver, no network."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    wrong, seen = [], 0
    for distribution in importlib.metadata.distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        if lock.get(name) != distribution.version:
            continue
        seen += 1
        for requirement in map(Requirement, distribution.requires or ()):
            if requirement.marker and not requirement.marker.evaluate(environment):
                continue
            version = lock.get(canonicalize_name(requirement.name))
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                wrong.append(f"{name} asks for {requirement}, the lock has {version}")
    assert wrong == []
    assert seen > 0.8 * len(lock)


def test_the_lock_leaves_out_what_does_not_belong_together(lock):
    assert {"tensorflow-cpu", "tensorflow-addons", "tf-keras", "torch", "pip", "xmkeras"} & set(lock) == set()


def test_every_imported_package_is_declared(setup_cfg):
    requirements = declared(setup_cfg, "openmoji", "serving", "minilm")
    names = {canonicalize_name(requirement.name) for requirement in requirements}
    names |= {"keras-hub"}  # what keras-nlp installs
    owners = importlib.metadata.packages_distributions()
    for module, path in modules("xmkeras"):
        for name in names_at_import(path.read_text(), module):
            top = name.split(".")[0]
            if top and top != "xmkeras" and top not in sys.stdlib_module_names:
                found = {canonicalize_name(owner) for owner in owners.get(top, [top])}
                assert found & names, f"{module} imports {top}"
