"""`python -m xmkeras.search --model=DIR --images=FOLDER --text="a red heart"`: finds images for what is asked."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from xmkeras import flags, quiet
from xmkeras.errors import UserError
from xmkeras.options import Options, option


@dataclasses.dataclass(frozen=True)
class SearchOptions(Options):
    """The flags of this command."""

    model: str = option("", "run directory, or SavedModel written by `python -m xmkeras.export`")
    images: str = option("", "folder of images to search, subfolders included")
    gallery: str = option("", "search what is packed in the model instead: packed, or the name of its split")
    find: str = option("images", "what of the packed gallery to search", ("images", "texts"))
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
    if options.html and options.find == "texts":
        raise UserError("A page shows pictures, and --find=texts finds sentences; leave --html away.")
    quiet.import_tensorflow()
    from xmkeras.serving import galleries, searching
    from xmkeras.serving.client import SearchModel
    from xmkeras.serving.queries import read_queries

    model = SearchModel(options.model)
    if doubt := model.metadata.get("doubt"):
        print(f"xmkeras: {doubt}", file=sys.stderr)
    queries = read_queries(model, **asked)
    side = options.find.removesuffix("s")
    gallery = galleries.open_gallery(
        model, images=options.images, gallery=options.gallery, side=side, cache=options.index
    )
    if queries:
        found = searching.find(gallery, queries, top=options.top)
        print("\n\n".join(map(searching.format_found, found)))
    else:
        found = searching.converse(gallery, top=options.top)
    if options.html:
        searching.write_page(options.html, found, gallery)
        print(f"Page: {options.html}")
    return 0


if __name__ == "__main__":
    sys.exit(flags.main_guard(main))
