"""metrics.csv: growing columns, torn lines, resumed runs."""

from __future__ import annotations

import math
import os
import pathlib

import pandas as pd
import pytest

from xmkeras.errors import UserError
from xmkeras.training.history import History


def test_rows_read_back_with_empty_cells(tmp_path: pathlib.Path) -> None:
    history = History(tmp_path / "metrics.csv")
    history.append(10, {"loss": 3.25, "rate/adam": 1e-3})
    history.append(10, {"validation/R@1, both": 12.5})
    history.append(20, {"loss": math.nan, "rate/adam": 1.23456789e-5})
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert list(table.columns) == ["step", "loss", "rate/adam", "validation/R@1, both"]
    assert table["step"].tolist() == [10, 10, 20]
    assert table["loss"].fillna(-1).tolist() == [3.25, -1, -1]
    assert table["rate/adam"].tolist()[2] == pytest.approx(1.234568e-5)
    assert table["validation/R@1, both"].dropna().tolist() == [12.5]
    assert history.last_step == 20


def test_a_resumed_run_continues_after_its_checkpoint(tmp_path: pathlib.Path) -> None:
    first = History(tmp_path / "metrics.csv")
    for step in (10, 20, 30, 40):
        first.append(step, {"loss": float(step)})
    second = History(tmp_path / "metrics.csv")
    assert second.last_step == 40
    second.rewind(20)
    assert second.last_step == 20
    second.append(30, {"loss": 0.5, "new": 1.0})
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert table["step"].tolist() == [10, 20, 30]
    assert table["loss"].tolist() == [10, 20, 0.5]


def test_a_line_torn_anywhere_is_dropped(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "metrics.csv"
    history = History(path)
    for step in (1, 2, 3):
        history.append(step, {"loss": 0.125, "é": 2.0})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        History(path).append(9, {"loss": 0.5, "é": 1.0})
        table = pd.read_csv(path)
        complete = max(0, whole[:length].count(b"\n") - 1)
        assert table["step"].tolist() == [*[1, 2, 3][:complete], 9]
        assert table["loss"].tolist() == [0.125] * complete + [0.5]


def test_nothing_is_written_before_the_first_number(tmp_path: pathlib.Path) -> None:
    History(tmp_path / "metrics.csv").rewind(5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence(tmp_path: pathlib.Path) -> None:
    history = History(tmp_path / "metrics.csv")
    history.append(1, {"loss": 1.0})
    (tmp_path / "metrics.csv").unlink()
    (tmp_path / "metrics.csv").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"metrics.csv cannot be written \(No space left"):
        history.append(2, {"loss": 1.0})
