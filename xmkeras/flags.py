"""absl flags made from the config's dataclasses, parsed in two passes: the method first, then its own flags."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import itertools
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from absl import flags as absl_flags

import xmkeras
from xmkeras import quiet
from xmkeras.config import Config, DataConfig, ModelConfig, TrainConfig
from xmkeras.errors import UserError

_DEFINERS: dict[str, Callable[..., Any]] = {
    "str": absl_flags.DEFINE_string,
    "int": absl_flags.DEFINE_integer,
    "float": absl_flags.DEFINE_float,
    "bool": absl_flags.DEFINE_bool,
    "tuple[str, ...]": absl_flags.DEFINE_multi_string,
}


class _Argument(NamedTuple):
    text: str
    origin: str  # "the command line", or file and line


class CommandLine(NamedTuple):
    """What a command was asked: the config, the command's own options, and the flags a person set."""

    config: Config
    options: Any
    given: frozenset[str]


def method_names() -> list[str]:
    """The values of `--method`: the files of `xmkeras/methods`."""
    folder = pathlib.Path(xmkeras.__file__).parent / "methods"
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def load_method(name: str) -> Any:
    """The method class of `xmkeras/methods/<name>.py`.

    Raises:
        UserError: there is no such file; the message lists the choices.
    """
    if name not in method_names():
        raise UserError(f"Unknown method {name!r}; choose one of: {', '.join(method_names())}.")
    quiet.import_tensorflow()
    return importlib.import_module(f"xmkeras.methods.{name}").METHOD


def parse(argv: Sequence[str], options: type | None = None, *, defaults: Config | None = None) -> CommandLine:
    """Parses a command line into a config.

    Args:
        argv: arguments without the program's name; `--flagfile=PATH` may nest.
        options: dataclass of flags that belong to this command alone.
        defaults: values of flags that are not given, for commands that start from a finished run.

    Raises:
        UserError: an unknown flag or method, a bad value, a missing flagfile.
    """
    arguments = list(_expand([_Argument(text, "the command line") for text in argv], pathlib.Path.cwd(), ()))
    defaults = defaults or Config()
    method = load_method(_last_value(arguments, "method") or defaults.method)
    values = absl_flags.FlagValues()
    name = method.__module__.rpartition(".")[2]
    absl_flags.DEFINE_string("method", name, f"method: {', '.join(method_names())}", flag_values=values)
    for part in (defaults.data, defaults.model, defaults.train):
        _define(values, type(part), dataclasses.asdict(part))
    params = defaults.method_params if defaults.method == name else {}
    _define(values, method.Params, params, prefix=f"{name}.")
    if options is not None:
        _define(values, options, {})
    if _asks_for_help(arguments):
        print(_help_text(values, _sections(values, options, name)))
        raise SystemExit(0)
    _parse_with(values, arguments)
    given = frozenset(n for n in values if values[n].present)
    chosen = {n: _since_none(values[n].value) for n in values}
    command_options = None
    if options is not None:
        command_options = options(**{field.name: chosen.pop(field.name) for field in dataclasses.fields(options)})
    return CommandLine(Config.from_flags(chosen), command_options, given)


def parse_for_run(argv: Sequence[str], options: type | None = None) -> CommandLine:
    """Parses the flags of a command that works on a finished run: the run's own flags are the defaults.

    Flags of data and devices may differ, so that a run can be evaluated on other rows; its model and training cannot.

    Raises:
        UserError: no --run, no run directory there, or a flag that would change the trained model.
    """
    from xmkeras.run import RunDirectory

    arguments = [_Argument(text, "the command line") for text in argv]
    path = _last_value(arguments, "run")
    if not path and not _asks_for_help(arguments):
        raise UserError("Which run? Pass --run=DIR, the directory that `python -m xmkeras.train` printed.")
    defaults = RunDirectory.existing(path).config() if path else None
    command = parse(argv, options, defaults=defaults)
    fixed = {field.name for part in (ModelConfig, TrainConfig) for field in dataclasses.fields(part)}
    changed = sorted((command.given & fixed) - {"run", "devices", "use_best"})
    if changed:
        raise UserError(f"--{changed[0]} belongs to training and {path} is trained; leave it away, or train anew.")
    return command


def parse_options(argv: Sequence[str], options: type) -> Any:
    """Parses the flags of a command that has no config: an instance of the dataclass `options`.

    Raises:
        UserError: an unknown flag, a bad value, a missing flagfile.
    """
    arguments = list(_expand([_Argument(text, "the command line") for text in argv], pathlib.Path.cwd(), ()))
    values = absl_flags.FlagValues()
    _define(values, options, {})
    if _asks_for_help(arguments):
        print(_help_text(values, {"this command": [field.name for field in dataclasses.fields(options)]}))
        raise SystemExit(0)
    _parse_with(values, arguments)
    return options(**{n: tuple(v) if isinstance(v := _since_none(values[n].value), list) else v for n in values})


def to_flagfile(config: Config) -> str:
    """The text of a flagfile that repeats `config`."""
    lines = []
    for name, value in config.as_flags().items():
        for item in value if isinstance(value, tuple | list) else (value,):
            lines.append(f"--{name}={str(item).lower() if isinstance(item, bool) else item}")
    return "\n".join(lines) + "\n"


def main_guard(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> int:
    """Runs a command's `main`; a `UserError` becomes one sentence on stderr and exit status 2."""
    try:
        return main(sys.argv[1:] if argv is None else argv) or 0
    except UserError as error:
        print(f"xmkeras: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _define(values: absl_flags.FlagValues, part: Any, defaults: dict[str, Any], prefix: str = "") -> None:
    for field in dataclasses.fields(part):
        default = defaults.get(field.name, field.default)
        help_text = field.metadata.get("help", "")
        choices = field.metadata.get("choices", ())
        name = prefix + field.name
        if choices:
            absl_flags.DEFINE_enum(name, default, list(choices), help_text, flag_values=values)
        else:
            if isinstance(default, tuple):
                default = list(default)
            _DEFINERS[str(field.type)](name, default, help_text, flag_values=values)


def _expand(
    arguments: Sequence[_Argument], base: pathlib.Path, including: tuple[pathlib.Path, ...]
) -> Iterator[_Argument]:
    """Replaces every `--flagfile` by the lines of its file, relative to the including file or the working folder."""
    pending = iter(arguments)
    for argument in pending:
        name, _, value = argument.text.lstrip("-").partition("=")
        if name != "flagfile" or not argument.text.startswith("-"):
            yield argument
            continue
        if "=" not in argument.text:
            value = next(pending, _Argument("", "")).text
        path = _find_flagfile(value, base, argument.origin)
        if path in including:
            raise UserError(f"The flagfile {value} includes itself ({argument.origin}); remove one of the two.")
        yield from _expand(list(_read_flagfile(path)), path.parent, (*including, path))


def _find_flagfile(value: str, base: pathlib.Path, origin: str) -> pathlib.Path:
    candidates = [base / value, pathlib.Path.cwd() / value, *(root / value for root in packaged_flag_roots())]
    for candidate in candidates:
        if value and candidate.is_file():
            return candidate.resolve()
    raise UserError(f"There is no flagfile {value!r} (named by {origin}); the shipped ones are: {_shipped()}.")


def packaged_flag_roots() -> list[pathlib.Path]:
    """Folders in which a relative `flags/...` path is found: the checkout, or the installed package's data."""
    package = pathlib.Path(xmkeras.__file__).parent
    return [package.parent, package, pathlib.Path(sys.prefix) / "share" / "xmkeras"]


def _shipped() -> str:
    for root in packaged_flag_roots():
        names = sorted(f"flags/{path.name}" for path in (root / "flags").glob("*.cfg"))
        if names:
            return ", ".join(names)
    return "none"


def _read_flagfile(path: pathlib.Path) -> Iterator[_Argument]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The flagfile {path} cannot be read: {error}.") from error
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith(("#", "//")):
            continue
        if not text.startswith("-"):
            raise UserError(f"{path}, line {number}: {text!r} is not a flag; write --name=value, one a line.")
        yield _Argument(text, f"{path}, line {number}")


def _last_value(arguments: Sequence[_Argument], name: str) -> str:
    value = ""
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=_Argument("", "")):
        head, equals, tail = argument.text.lstrip("-").partition("=")
        if head == name and argument.text.startswith("-"):
            value = tail if equals else following.text
    return value


def _parse_with(values: absl_flags.FlagValues, arguments: Sequence[_Argument]) -> None:
    try:
        rest = values(["xmkeras", *(argument.text for argument in arguments)])[1:]
    except absl_flags.UnrecognizedFlagError as error:
        origin = _origin_of(error.flagname, arguments)
        near = difflib.get_close_matches(error.flagname, list(values), n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join('--' + name for name in near)}?" if near else "--help lists all flags."
        raise UserError(f"Unknown flag --{error.flagname} ({origin}); {hint}") from error
    except absl_flags.Error as error:
        raise UserError(f"{' '.join(str(error).split())}") from error
    if rest:
        raise UserError(f"{rest[0]!r} is not a flag; write --name=value.")


def _since_none(value: Any) -> Any:
    """A repeatable flag without what a later `none` takes back, such as the stages of an included flagfile."""
    if not isinstance(value, list) or "none" not in value:
        return value
    return value[len(value) - value[::-1].index("none") :]


def _asks_for_help(arguments: Sequence[_Argument]) -> bool:
    return any(argument.text in ("--help", "-help", "-h", "--h") for argument in arguments)


def _origin_of(name: str, arguments: Sequence[_Argument]) -> str:
    for argument in arguments:
        if argument.text.lstrip("-").partition("=")[0] in (name, f"no{name}"):
            return argument.origin
    return "the command line"


def _sections(values: absl_flags.FlagValues, options: type | None, method: str) -> dict[str, list[str]]:
    """The names of the flags of a command that works on a config, by what they belong to."""
    parts: dict[str, Any] = {"data": DataConfig, "model": ModelConfig, "training": TrainConfig}
    if options is not None:
        parts = {"this command": options, **parts}
    sections = {title: [field.name for field in dataclasses.fields(part)] for title, part in parts.items()}
    return sections | {"method": ["method", *(name for name in values if name.startswith(f"{method}."))]}


def _help_text(values: absl_flags.FlagValues, sections: dict[str, list[str]]) -> str:
    lines = ["Flags (--name=value; --flagfile=PATH reads them from a file, one a line):"]
    for title, names in sections.items():
        lines.append(f"\n{title}:")
        for name in names:
            flag = values[name]
            choices = getattr(flag.parser, "enum_values", None)
            suffix = f" {{{', '.join(choices)}}}" if choices else ""
            lines.append(f"  --{name}={flag.value}\n      {flag.help}{suffix}")
    return "\n".join(lines)
