"""What `--help` prints: what a run uses, the topics, and the flags of one topic or all."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import Any

from absl import flags as absl_flags

from xmkeras.config import Config, fields
from xmkeras.errors import UserError
from xmkeras.flagfiles import Argument

_USAGE = """\
Usage: --flagfile=FILE --name=value ...; a flagfile holds one flag a line, and later values win.
--help=TOPIC tells what the flags of a topic do, --help=all those of every topic."""
_WIDTH = 110


def is_asked(argument: Argument) -> bool:
    """Whether an argument is `--help`, `-h` or `--help=TOPIC`."""
    return argument.name in ("help", "h")


def topic(arguments: Sequence[Argument]) -> str:
    """TOPIC of the last `--help=TOPIC`, "" where none is named."""
    return next((argument.text.partition("=")[2] for argument in reversed(arguments) if is_asked(argument)), "")


def text(asked: str, values: absl_flags.FlagValues, config: Config, params: type, own: Sequence[str]) -> str:
    """The help of a command that works on a config.

    Args:
        asked: a topic, "all", or "" for the overview, which begins with what `config` sets.
        values: flags by name, with their help and value.
        config: what flagfiles and flags come to.
        params: of the method.
        own: flags of the command alone.

    Raises:
        UserError: there is no such topic.
    """
    topics = _topics(config, values, own)
    if asked == "all":
        return "\n\n".join(f"{topic}:\n{details(values, names)}" for topic, names in topics.items())
    if asked in topics:
        return details(values, topics[asked])
    if asked:
        raise UserError(f"There is no help on {asked!r}; choose a topic of {', '.join(topics)}, or all.")
    overview = "\n".join(_row(topic, " ".join(names)) for topic, names in topics.items())
    return "\n\n".join(filter(None, (_USAGE, _differing(config, params), overview)))


def details(values: absl_flags.FlagValues, names: Sequence[str]) -> str:
    """Each of the flags with its value and its help."""
    lines = []
    for name in names:
        flag = values[name]
        lines.append(f"  --{name}={_plain(flag.value)}\n      {flag.help}")
    return "\n".join(lines)


def _topics(config: Config, values: absl_flags.FlagValues, own: Sequence[str]) -> dict[str, list[str]]:
    topics: dict[str, list[str]] = {"command": list(own)} if own else {}
    for name, field in fields().items():
        topics.setdefault(field.metadata["topic"], []).append(name)
    return topics | {"method": ["method", *(name for name in values if name.startswith(f"{config.method}."))]}


def _differing(config: Config, params: type) -> str:
    """The flags of a config that are not at their defaults."""
    defaults = dataclasses.replace(Config(), method=config.method).completed(params).as_flags()
    defaults["method"] = Config().method
    lines = [f"  --{name}={_plain(value)}" for name, value in config.as_flags().items() if value != defaults.get(name)]
    return "\n".join(["This run sets:", *lines]) if lines else ""


def _row(topic: str, names: str) -> str:
    return textwrap.fill(names, _WIDTH, initial_indent=f"  {topic:<12}", subsequent_indent=" " * 14)


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " | ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
