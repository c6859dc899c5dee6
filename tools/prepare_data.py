"""Fetches what is published of a data set, checks it, and says what lies where.

python -m tools.prepare_data --source=flowers
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from xmkeras import flags
from xmkeras.data.rows import RowTable
from xmkeras.data.sources import SourceOptions, source_names
from xmkeras.run.assembly import load_table
from xmkeras.run.directory import data_root


def main(argv: Sequence[str]) -> int:
    """Downloads what the source that the flags name can download, loads it once, and prints its splits."""
    config = flags.parse(argv).config
    if config.data.source in source_names():
        source = importlib.import_module(f"xmkeras.data.sources.{config.data.source}")
        if hasattr(source, "download"):
            source.download(SourceOptions(data_dir=str(data_root(config))))
    print(summary(load_table(config)))
    return 0


def summary(table: RowTable) -> str:
    """Rows, images, captions and labels of each split, a line each."""
    lines = [f"{table.name}, labelled by {table.label_kind}"]
    for name in table.split_names:
        part = table.split(name)
        captions = sum(map(len, part.captions))
        labels = len(set(part.labels.tolist()))
        lines.append(f"  {name}: {part.num_images} images, {captions} captions, {labels} labels")
    return "\n".join([*lines, table.credit]).rstrip()


if __name__ == "__main__":
    sys.exit(flags.main_guard(main))
