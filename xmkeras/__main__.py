"""`xmkeras train|evaluate|export|search|verify`: the commands under one name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from xmkeras import flags
from xmkeras.errors import UserError

COMMANDS = ("train", "evaluate", "export", "search", "verify")


def run(argv: Sequence[str]) -> int:
    """Passes `argv` on to the command that its first word names.

    Raises:
        UserError: there is no such command.
    """
    name = argv[0] if argv else ""
    if name in ("--version", "version"):
        import xmkeras

        print(f"xmkeras {xmkeras.__version__}")
        return 0
    if name in ("", "--help", "-h", "help"):
        print(f"usage: xmkeras {{{','.join(COMMANDS)}}} --flag=value ...\n`xmkeras COMMAND --help` lists its flags.")
        return 0
    if name not in COMMANDS:
        raise UserError(f"There is no command {name!r}; choose one of: {', '.join(COMMANDS)}.")
    status: int = importlib.import_module(f"xmkeras.{name}").main(argv[1:])
    return status


def main() -> int:
    """Entry point of the console script."""
    return flags.main_guard(run)


if __name__ == "__main__":
    sys.exit(main())
