"""Converts published image weights of PyTorch to a file of Keras, without PyTorch.

    python -m tools.convert_weights --image_tower=bn_inception bn_inception-239d2248.pth bn_inception.weights.h5

The written file goes into `--image_weights=`, as the PyTorch file itself does; it is the one to keep, since Keras reads
it too.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from xmkeras.errors import UserError
from xmkeras.files import explained
from xmkeras.models.image import image_backbone
from xmkeras.models.image_networks import NETWORKS

_SUFFIX = ".weights.h5"


def convert(tower: str, source: str, target: str) -> int:
    """Writes the weights of a PyTorch file of an image tower to a file of Keras; returns their number.

    Raises:
        UserError: the tower takes no such file, the file is missing or of another network, or nothing can be written.
    """
    if not target.endswith(_SUFFIX):
        raise UserError(f"{target} is no name of a file of Keras weights; let it end in {_SUFFIX}.")
    side = max(64, NETWORKS[tower].smallest)  # the weights of a convolution are of no size
    network = image_backbone(tower, image_size=(side, side), weights=source).get_layer(tower)
    with explained(target):
        pathlib.Path(target).parent.mkdir(parents=True, exist_ok=True)
        network.save_weights(target)
    return int(network.count_params())


def main(argv: Sequence[str] | None = None) -> int:
    """Converts a file; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [name for name, network in NETWORKS.items() if network.load_torch is not None]
    parser.add_argument("--image_tower", required=True, choices=known)
    parser.add_argument("source", help="file of PyTorch (.pth)")
    parser.add_argument("target", help=f"file of Keras ({_SUFFIX})")
    given = parser.parse_args(argv)
    try:
        count = convert(given.image_tower, given.source, given.target)
    except UserError as error:
        print(f"convert_weights: {error}", file=sys.stderr)
        return 2
    print(f"{given.target}: {count:,} weights; --image_tower={given.image_tower} --image_weights={given.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
