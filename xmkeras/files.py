"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from xmkeras.errors import UserError


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Writes beside `path`, then moves it there: a reader, or a crash, sees the old file or the new one.

    Args:
        path: the file; its folder is made where it is missing.
        data: the contents, text as UTF-8.

    Raises:
        UserError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    path = Path(path)
    contents = data.encode() if isinstance(data, str) else data
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, contents)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}; free some space there or choose another folder."
        ) from error


def _replace(path: Path, contents: bytes) -> None:
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; a report is to be read by whoever may read its folder.
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise
