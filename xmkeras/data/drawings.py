"""SVG drawings rendered once into a folder of PNG files."""

from __future__ import annotations

import os
from collections.abc import Sequence

from xmkeras.bars import progress
from xmkeras.errors import UserError


def render_missing(svg_dir: str, names: Sequence[str], png_dir: str, size: int) -> None:
    """Renders `svg_dir/<name>.svg` to `png_dir/<name>.png` (square, on white), unless it exists.

    Each file appears whole or not at all, so that a run that was killed goes on with the next drawing.

    Raises:
        UserError: a drawing cannot be rendered, or the folder cannot be written.
    """
    try:
        os.makedirs(png_dir, exist_ok=True)
        with os.scandir(png_dir) as entries:
            done = {entry.name for entry in entries if entry.stat().st_size}
        missing = [name for name in names if f"{name}.png" not in done]
        for name in progress(missing, len(missing), "rendering drawings"):
            _write_whole(
                os.path.join(png_dir, f"{name}.png"), _render(os.path.join(svg_dir, f"{name}.svg"), size)
            )
    except OSError as error:
        raise UserError(
            f"Cannot write rendered drawings to {png_dir} ({error}); choose another --data_dir."
        ) from error


def _render(path: str, size: int) -> bytes:
    import resvg_py

    try:
        return bytes(
            resvg_py.svg_to_bytes(
                svg_path=path, width=size, height=size, background="white", skip_system_fonts=True
            )
        )
    except ValueError as error:
        raise UserError(f"Cannot render the drawing {path} ({error}); reinstall its package.") from error


def _write_whole(path: str, data: bytes) -> None:
    partial = f"{path}.{os.getpid()}.partial"
    with open(partial, "wb") as file:
        file.write(data)
    os.replace(partial, path)
