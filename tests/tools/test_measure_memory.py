"""Rows are written once, and a process is sampled while it lives."""

from __future__ import annotations

import pathlib
import sys

from tools import measure_memory
from xmkeras.data.sources import SourceOptions, load_source


def test_rows_are_a_table_and_are_kept(tmp_path: pathlib.Path):
    table = measure_memory.write_rows(tmp_path / "rows", 30)
    written = table.stat().st_mtime_ns
    assert measure_memory.write_rows(tmp_path / "rows", 30) == table
    assert table.stat().st_mtime_ns == written
    rows = load_source("table", SourceOptions(table=str(table)))
    assert len(rows) == 30
    assert set(rows.split_names) == {"train", "validation", "test"}


def test_memory_of_a_process_is_seen():
    code = "import time; block = bytearray(200 * 2**20); time.sleep(1.5)"
    status, seconds, samples = measure_memory.measure([sys.executable, "-c", code])
    assert status == 0
    assert seconds > 1
    assert 200 < max(samples) < 400
