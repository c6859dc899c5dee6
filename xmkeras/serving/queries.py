"""What a search is asked with: sentences, image files, or rows of vectors, as the model takes them."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xmkeras.data.array_files import read_matrix, split_reference
from xmkeras.errors import UserError
from xmkeras.serving.client import Rows, SearchModel
from xmkeras.serving.inputs import ImageBytes, Sentences

# Flag and example by the name of what a request holds; the flag of vectors is called as they are.
_KINDS = {
    Sentences.spec.name: ("text", 'sentences (--text="a red heart")'),
    ImageBytes.spec.name: ("image", "image files (--image=FILE)"),
}


@dataclasses.dataclass(frozen=True)
class Queries:
    """Queries of one kind.

    Attributes:
        side: "image" or "text".
        names: (n,) what they are called: the sentence, the path of the picture, or the file and row, from 1.
        rows: (n,) what the model is given of each.
        pictures: whether they are image files.
    """

    side: str
    names: Sequence[str]
    rows: Rows
    pictures: bool = False


def read_queries(
    model: SearchModel,
    *,
    text: Sequence[str] = (),
    image: Sequence[str] = (),
    text_features: Sequence[str] = (),
    image_features: Sequence[str] = (),
) -> list[Queries]:
    """What is asked, kind by kind, in the order of the arguments.

    Args:
        model: will be asked.
        text: sentences.
        image: paths of image files.
        text_features, image_features: `FILE` or `FILE:ARRAY` of vectors (n, ...), a query a row.

    Raises:
        UserError: the model takes something else, or a file cannot be read or does not fit.
    """
    queries = []
    if text:
        check_takes(model, "text", "--text")
        if not all(sentence.strip() for sentence in text):
            raise UserError("A sentence to search for is blank; write one, --text=\"a red heart\".")
        queries.append(Queries("text", text, text))
    if image:
        check_takes(model, "image", "--image")
        queries.append(Queries("image", image, [_read(path) for path in image], pictures=True))
    for side, references in (("text", text_features), ("image", image_features)):
        queries += [_vectors(model, side, reference) for reference in references]
    return queries


def check_takes(model: SearchModel, flag: str, given: str) -> None:
    """Raises UserError, which names what was `given`, where the model is not asked with `flag`."""
    kinds = {side: _kind(side, spec) for side, spec in model.inputs.items()}
    if flag not in dict(kinds.values()):
        side = flag.removesuffix("_features")
        takes = [what for _, what in ([kinds[side]] if side in kinds else kinds.values())]
        raise UserError(f"{model.path} takes {' and '.join(takes)}, so it cannot be asked with {given}.")


def example(metadata: Mapping[str, Any]) -> str:
    """Flags that ask a model of this description for something; "" where there is nothing that it could search."""
    last = list(metadata["inputs"].values())[-1]
    asked = _KINDS[last][1].partition("(")[2].rstrip(")") if last in _KINDS else f"--{last}=FILE.npy"
    if metadata["inputs"]["image"] == ImageBytes.spec.name and metadata["similarity"] != "pairs":
        return f"--images=FOLDER {asked}"
    return asked if metadata["gallery"] else ""


def _kind(side: str, spec: Any) -> tuple[str, str]:
    """The flag for what a model takes of a side, and what that is, for people."""
    return _KINDS.get(spec.name, (spec.name, f"{side} vectors of {_size(spec)} numbers (--{spec.name}=FILE.npy)"))


def _size(spec: Any) -> str:
    return " x ".join(str(size) for size in spec.shape[1:])


def _vectors(model: SearchModel, side: str, reference: str) -> Queries:
    check_takes(model, f"{side}_features", f"--{side}_features={reference}")
    spec = model.inputs[side]
    path, name = split_reference(reference)
    rows = np.asarray(read_matrix(path, name), np.float32)
    if rows.shape[1:] != tuple(spec.shape[1:]) or not np.isfinite(rows).all():
        raise UserError(
            f"{reference} has shape {rows.shape}; the model takes finite {spec.name} of {_size(spec)} numbers a row."
        )
    return Queries(side, [f"{os.path.basename(path)} row {row}" for row in range(1, len(rows) + 1)], rows)


def _read(path: str) -> bytes:
    try:
        return pathlib.Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read the image {os.fspath(path)}: {error.strerror}.") from error
