"""`python -m xmkeras.verify --source=table --table=pairs.csv`: reads a whole data set and names all that is broken."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from xmkeras import flags
from xmkeras.options import Options, option


@dataclasses.dataclass(frozen=True)
class VerifyOptions(Options):
    """The flag of this command alone."""

    near_duplicates: bool = option(
        False, "name images of different splits that look alike (pip install 'xmkeras[verify]')"
    )


def main(argv: Sequence[str]) -> int:
    """Verifies the data set that the flags name; returns the exit status, 1 where something is broken."""
    command = flags.parse(argv, VerifyOptions)
    config = command.config
    # A missing file is one more broken row of the report, not the end of it.
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, check_images=False))
    from xmkeras.data import verification
    from xmkeras.data.decoding import decode
    from xmkeras.run.assembly import load_table

    faults: list[str] = []

    def tell(fault: str) -> None:
        faults.append(fault)
        print(fault)

    table = load_table(config, tell)
    for bad in verification.broken_images(table, decode):
        tell(str(bad))
    for alike in verification.near_duplicates(table) if command.options.near_duplicates else ():
        print(alike)
    print(f"{table.name}: {len(table)} rows, {table.num_images} distinct images, {len(faults)} broken.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(flags.main_guard(main))
