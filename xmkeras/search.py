"""`python -m xmkeras.search --model=DIR --images=FOLDER --text="a red heart"`: finds images for what is asked."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from xmkeras import flags, quiet
from xmkeras.config import option
from xmkeras.errors import UserError


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """The flags of this command."""

    model: str = option("", "run directory, or SavedModel written by `python -m xmkeras.export`")
    images: str = option("", "folder of images to search, subfolders included")
    gallery: str = option("", "search the gallery in the model instead: packed, or the name of its split")
    text: tuple[str, ...] = option((), "sentence to search for; repeatable")
    image: tuple[str, ...] = option((), "image file to search with; repeatable")
    text_features: str = option("", "FILE[:ARRAY] of text vectors to search the packed images with, row by row")
    image_features: str = option("", "FILE[:ARRAY] of image vectors to search the packed texts with, row by row")
    top: int = option(10, "results of each query")
    html: str = option("", "page of pictures to write")
    index: str = option("", "folder of the index of --images; empty: ~/.cache/xmkeras/index")


def main(argv: Sequence[str]) -> int:
    """Searches for what the flags ask, or for what is typed; returns the exit status."""
    options: SearchOptions = flags.parse_options(argv, SearchOptions)
    if not options.model:
        raise UserError("Which model? Pass --model=DIR, a run that `python -m xmkeras.export` has exported.")
    if options.text_features or options.image_features:
        return _search_features(options)
    asks = bool(options.text or options.image)
    if not asks and not sys.stdin.isatty():
        raise UserError('Search for what? Pass --text="a red heart" or --image=FILE.')
    quiet.import_tensorflow()
    from xmkeras.serving import galleries, searching
    from xmkeras.serving.client import SearchModel

    model = SearchModel(options.model)
    gallery = galleries.open_gallery(model, images=options.images, gallery=options.gallery, cache=options.index)
    if asks:
        found = searching.find(gallery, texts=options.text, images=options.image, top=options.top)
        print("\n\n".join(map(searching.format_found, found)))
    else:
        found = searching.converse(gallery, top=options.top)
    if options.html:
        searching.write_page(options.html, found, gallery)
        print(f"Page: {options.html}")
    return 0


def _search_features(options: SearchOptions) -> int:
    quiet.import_tensorflow()
    from xmkeras.serving.client import SearchModel
    from xmkeras.serving.feature_searching import find_features
    from xmkeras.serving.searching import format_found

    found = find_features(
        SearchModel(options.model),
        text_features=options.text_features,
        image_features=options.image_features,
        top=options.top,
    )
    print("\n\n".join(map(format_found, found)))
    return 0


if __name__ == "__main__":
    sys.exit(flags.main_guard(main))
