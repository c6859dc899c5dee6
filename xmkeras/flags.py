"""absl flags made from the config's dataclasses, parsed in two passes: the method first, then its own flags."""

from __future__ import annotations

import dataclasses
import difflib
import io
import os
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from absl import flags as absl_flags

from xmkeras import flagfiles, help, methods, old_flags
from xmkeras.config import Config, ModelConfig, TrainConfig
from xmkeras.errors import UserError
from xmkeras.flagfiles import Argument, last_value
from xmkeras.options import told

_DEFINERS: dict[Any, Callable[..., Any]] = {
    str: absl_flags.DEFINE_string,
    int: absl_flags.DEFINE_integer,
    float: absl_flags.DEFINE_float,
    bool: absl_flags.DEFINE_bool,
    tuple[str, ...]: absl_flags.DEFINE_multi_string,
}
# What a command on a finished run may change of training: where it lies, where it runs, which of its weights are taken.
_FREE = frozenset({"run", "devices", "use_best"})


class CommandLine(NamedTuple):
    """What a command was asked.

    Attributes:
        config: of the run.
        options: the command's own, an instance of its dataclass.
        given: the flags a person set.
        name: what the run is called: the last flagfile's name, or the method's.
    """

    config: Config
    options: Any
    given: frozenset[str]
    name: str


def parse(argv: Sequence[str], options: type | None = None, *, defaults: Config | None = None) -> CommandLine:
    """Parses a command line into a config.

    Args:
        argv: arguments without the program's name; `--flagfile=PATH` may nest.
        options: dataclass of flags that belong to this command alone.
        defaults: values of flags that are not given, for commands that start from a finished run.

    Raises:
        UserError: an unknown flag or method, a bad value, a missing flagfile.
    """
    arguments = old_flags.replaced(flagfiles.expand(argv))
    defaults = defaults or Config()
    method = last_value(arguments, "method") or defaults.method
    params = methods.load(method).Params
    values = absl_flags.FlagValues()
    absl_flags.DEFINE_string("method", method, f"method: {', '.join(methods.names())}", flag_values=values)
    for part in (defaults.data, defaults.model, defaults.train):
        _define(values, type(part), dataclasses.asdict(part))
    _define(values, params, defaults.method_params if defaults.method == method else {}, prefix=f"{method}.")
    own = _define(values, options) if options is not None else []
    _parse_with(values, [argument for argument in arguments if not help.is_asked(argument)])
    chosen = _values(values)
    command_options = options(**{name: chosen.pop(name) for name in own}) if options is not None else None
    config = Config.from_flags(chosen)
    params(**config.method_params)  # refuses what is out of range before any data are read
    if any(map(help.is_asked, arguments)):
        print(help.text(help.topic(arguments), values, config, params, own))
        raise SystemExit(0)
    given = frozenset(name for name in values if values[name].present)
    words = {argument.name for argument in arguments if argument.origin == flagfiles.COMMAND_LINE}
    typed = given & (words | {word.removeprefix("no") for word in words})
    config = dataclasses.replace(config, typed=typed)
    return CommandLine(config, command_options, given, flagfiles.stem(argv) or method)


def parse_for_run(argv: Sequence[str], config_of: Callable[[str], Config], options: type | None = None) -> CommandLine:
    """Parses the flags of a command that works on a finished run: the run's own flags are the defaults.

    Flags of data and devices may differ, so that a run can be evaluated on other rows; its model and training cannot.

    Args:
        argv: arguments without the program's name.
        config_of: from the directory of a run to the config it was trained with.
        options: dataclass of flags that belong to this command alone.

    Raises:
        UserError: no --run, no run directory there, or a flag that would change the trained model.
    """
    arguments = [Argument(text, flagfiles.COMMAND_LINE) for text in argv]
    path = last_value(arguments, "run")
    if not path and not any(map(help.is_asked, arguments)):
        raise UserError("Which run? Pass --run=DIR, the directory that `python -m xmkeras.train` printed.")
    command = parse(argv, options, defaults=config_of(path) if path else None)
    fixed = {field.name for part in (ModelConfig, TrainConfig) for field in dataclasses.fields(part)}
    changed = sorted((command.given & fixed) - _FREE)
    if changed:
        raise UserError(f"--{changed[0]} belongs to training and {path} is trained; leave it away, or train anew.")
    return command


def parse_options(argv: Sequence[str], options: type) -> Any:
    """Parses the flags of a command that has no config: an instance of the dataclass `options`.

    Raises:
        UserError: an unknown flag, a bad value, a missing flagfile.
    """
    arguments = flagfiles.expand(argv)
    values = absl_flags.FlagValues()
    names = _define(values, options)
    _parse_with(values, [argument for argument in arguments if not help.is_asked(argument)])
    if any(map(help.is_asked, arguments)):
        print(help.details(values, names))
        raise SystemExit(0)
    return options(**_values(values))


def main_guard(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> int:
    """Runs a command's `main`; a `UserError` becomes one sentence on stderr and exit status 2."""
    # A name that is no UTF-8, or a terminal that knows less, costs a character and not the answer.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return main(sys.argv[1:] if argv is None else argv) or 0
    except UserError as error:
        print(f"xmkeras: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _define(
    values: absl_flags.FlagValues, part: Any, defaults: dict[str, Any] | None = None, prefix: str = ""
) -> list[str]:
    """One flag of each field of the dataclass `part`; their names."""
    types = typing.get_type_hints(part)
    names = []
    for field in dataclasses.fields(part):
        name, kind = prefix + field.name, types[field.name]
        if kind not in _DEFINERS:
            known = ", ".join(getattr(one, "__name__", str(one)) for one in _DEFINERS)
            raise UserError(f"--{name} cannot be a flag: its type is {kind}; declare the field as one of {known}.")
        default = (defaults or {}).get(field.name, field.default)
        help_text, choices = field.metadata.get("help", ""), field.metadata.get("choices", ())
        help_text += f" ({told(field)})" if told(field) else ""
        if choices:
            absl_flags.DEFINE_enum(name, default, list(choices), help_text, flag_values=values)
        else:
            default = list(default) if isinstance(default, tuple) else default
            _DEFINERS[kind](name, default, help_text, flag_values=values)
        names.append(name)
    return names


def _parse_with(values: absl_flags.FlagValues, arguments: Sequence[Argument]) -> None:
    try:
        rest = values(["xmkeras", *(argument.text for argument in arguments)])[1:]
    except absl_flags.UnrecognizedFlagError as error:
        origin = _origin_of(error.flagname, arguments)
        near = difflib.get_close_matches(error.flagname, list(values), n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join('--' + name for name in near)}?" if near else "--help=all lists all flags."
        raise UserError(f"Unknown flag --{error.flagname} ({origin}); {hint}") from error
    except absl_flags.Error as error:
        raise UserError(f"{' '.join(str(error).split())}") from error
    if rest:
        raise UserError(f"{rest[0]!r} is not a flag; write --name=value.")


def _values(values: absl_flags.FlagValues) -> dict[str, Any]:
    """The values by name; a repeatable flag without what a later `none` takes back, such as an included stage."""
    chosen = {name: values[name].value for name in values}
    lists = {name: value for name, value in chosen.items() if isinstance(value, list)}
    for name, value in lists.items():
        since = len(value) - value[::-1].index("none") if "none" in value else 0
        chosen[name] = tuple(value[since:])
    return chosen


def _origin_of(name: str, arguments: Sequence[Argument]) -> str:
    origins = (argument.origin for argument in arguments if argument.name in (name, f"no{name}"))
    return next(origins, flagfiles.COMMAND_LINE)
