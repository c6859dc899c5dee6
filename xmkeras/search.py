"""`python -m xmkeras.search --model=DIR --images=FOLDER --text="a red heart"`: finds images for what is asked."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xmkeras import flags, quiet
from xmkeras.errors import UserError
from xmkeras.options import Options, option

if TYPE_CHECKING:
    from xmkeras.serving.client import SearchModel
    from xmkeras.serving.galleries import Gallery


@dataclasses.dataclass(frozen=True)
class SearchOptions(Options):
    """The flags of this command."""

    model: str = option("", "run directory, or SavedModel written by `python -m xmkeras.export`")
    images: str = option("", "folder of images to search, subfolders included")
    gallery: str = option("", "search what is packed in the model instead: packed, or the name of its split")
    find: str = option("images", "what of the packed gallery to search", ("images", "texts"))
    labels: str = option(
        "", "search these instead, labels with commas or a file of one a line: which of them fits a picture best"
    )
    text: tuple[str, ...] = option((), "sentence to search for; repeatable")
    image: tuple[str, ...] = option((), "image file to search with; repeatable")
    text_features: tuple[str, ...] = option((), "FILE[:ARRAY] of text vectors to search with, row by row; repeatable")
    image_features: tuple[str, ...] = option((), "FILE[:ARRAY] of image vectors to search with; repeatable")
    top: int = option(10, "results of each query", least=1)
    html: str = option("", "page of pictures to write")
    index: str = option("", "folder of the index of --images; empty: ~/.cache/xmkeras/index")


def main(argv: Sequence[str]) -> int:
    """Searches for what the flags ask, or for what is typed; returns the exit status."""
    options: SearchOptions = flags.parse_options(argv, SearchOptions)
    if not options.model:
        raise UserError("Which model? Pass --model=DIR, a run that `python -m xmkeras.export` has exported.")
    asked = {flag: getattr(options, flag) for flag in ("text", "image", "text_features", "image_features")}
    if not any(asked.values()) and not sys.stdin.isatty():
        raise UserError('Search for what? Pass --text="a red heart" or --image=FILE.')
    if options.html and (options.find == "texts" or options.labels):
        raise UserError("A page shows pictures, and --find=texts and --labels find sentences; leave --html away.")
    if options.labels and (options.images or options.gallery):
        raise UserError("--labels is searched itself; leave --images and --gallery away.")
    if options.html and not pathlib.Path(options.html).expanduser().absolute().parent.is_dir():
        raise UserError(f"--html={options.html} lies in no folder; make the folder first.")
    quiet.import_tensorflow()
    from xmkeras.serving import searching
    from xmkeras.serving.client import SearchModel
    from xmkeras.serving.queries import read_queries

    model = SearchModel(options.model)
    if doubt := model.metadata.get("doubt"):
        print(f"xmkeras: {doubt}", file=sys.stderr)
    queries = read_queries(model, **asked)
    gallery = _gallery(model, options)
    if queries:
        found = searching.find(gallery, queries, top=options.top)
        print("\n\n".join(map(searching.format_found, found)))
    else:
        found = searching.converse(gallery, top=options.top)
    if options.html:
        searching.write_page(options.html, found, gallery)
        print(f"Page: {options.html}")
    return 0


def _gallery(model: SearchModel, options: SearchOptions) -> Gallery:
    """What is searched."""
    from xmkeras.serving import galleries

    if options.labels:
        return galleries.SentenceGallery(model, galleries.read_labels(options.labels))
    side = options.find.removesuffix("s")
    return galleries.open_gallery(
        model, images=options.images, gallery=options.gallery, side=side, cache=options.index
    )


if __name__ == "__main__":
    sys.exit(flags.main_guard(main))
