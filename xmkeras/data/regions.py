"""Where the regions of images lie."""

from __future__ import annotations

import dataclasses

import numpy as np

from xmkeras.data.stacked import Array


@dataclasses.dataclass(frozen=True, eq=False)
class Boxes:
    """The corners of the regions of every image, by the number of the image.

    Args:
        corners: (images, regions, 4) left, top, right and bottom in pixels, NaN where they are not known.
        sizes: (images, 2) width and height in pixels.
    """

    corners: Array
    sizes: Array

    def of(self, image: int) -> np.ndarray | None:
        """float32 (regions, 4): left, top, right, bottom as shares of width and height; None where not known."""
        corners, size = (np.asarray(array[image], np.float32) for array in (self.corners, self.sizes))
        shares = corners / np.tile(size, 2)
        return shares if np.isfinite(shares).all() else None
