"""metrics.csv: every number of a run over its steps.

A column a number, a row an entry; a cell is empty where the number was not measured. A kill may tear the last
line, and a run that resumes repeats steps: the one is dropped when the file is opened, the other by `rewind`.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import pathlib
from collections.abc import Iterator, Mapping

from xmkeras.errors import UserError


class History:
    """Appends to a run's metrics.csv.

    Args:
        path: of the file; it is made by the first `append`.

    Attributes:
        last_step: the greatest step in the file, -1 where there is none.

    Raises:
        UserError: here and in every method, when the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        self.last_step = -1
        self._columns: list[str] = []
        self.rewind(None)

    def append(self, step: int, numbers: Mapping[str, float]) -> None:
        """Adds a row; columns that are new are added to the file."""
        if new := [name for name in numbers if name not in self._columns]:
            rows = self._read()
            self._columns = [*(self._columns or ["step"]), *new]
            self._rewrite(rows)
        self.last_step = max(self.last_step, step)
        with self._explaining(), open(self.path, "a", encoding="utf-8", newline="") as file:
            file.write(self._line({"step": str(step), **{name: f"{n:.7g}" for name, n in numbers.items()}}))

    def last(self, name: str) -> float:
        """The last number of a column; 0 where there is none."""
        return float(next((row[name] for row in reversed(self._read()) if row.get(name)), 0.0))

    def rewind(self, step: int | None) -> None:
        """Drops what comes after `step`, and a last line that a kill has torn."""
        if not self.path.exists():
            return
        rows = self._read()
        kept = [row for row in rows if step is None or int(row["step"]) <= step]
        self.last_step = max((int(row["step"]) for row in kept), default=-1)
        if len(kept) < len(rows) or not self.path.read_bytes().endswith(b"\n"):
            self._rewrite(kept)

    def _read(self) -> list[dict[str, str]]:
        """The rows of all whole lines."""
        if not self.path.exists():
            return []
        text = self.path.read_bytes().decode("utf-8", "ignore")
        reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
        self._columns = list(reader.fieldnames or [])
        return [row for row in reader if None not in row and (row.get("step") or "").isdigit()]

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with self._explaining():
            with open(temporary, "w", encoding="utf-8", newline="") as file:
                file.write(self._line({name: name for name in self._columns}) if self._columns else "")
                file.writelines(self._line(row) for row in rows)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written ({error.strerror}); make room or give rights, then run "
                "the same command to go on from the last checkpoint."
            ) from error

    def _line(self, row: Mapping[str, str]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self._columns, restval="", lineterminator="\n").writerow(row)
        return text.getvalue()
