"""`python -m xmkeras.export --run=DIR --gallery=test`: writes the SavedModel of a trained run."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from xmkeras import flags
from xmkeras.options import Options, option
from xmkeras.run.directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class ExportOptions(Options):
    """The flags of this command alone."""

    gallery: str = option("none", "split packed for the search signatures", ("none", "train", "validation", "test"))
    top_k: int = option(10, "results of the search signatures", least=1)
    rerank: int = option(
        256,
        "of a packed gallery that holds more, a search scores so many pairs, the nearest by the sums of their vectors, "
        "where the method scores pairs; 0: all",
        least=0,
    )
    export_tokenizer: str = option(
        "core",
        "operations of BERT's tokenizer in the model: TensorFlow's own, or those of TensorFlow Text (pip install "
        "'xmkeras[tf_text]'), which whatever loads the model then needs too",
        ("core", "tf_text"),
    )
    output: str = option("", "directory that gets saved_model/1; empty: the run directory")


def main(argv: Sequence[str]) -> int:
    """Exports what the flags describe; returns the exit status."""
    command = flags.parse_for_run(argv, lambda path: RunDirectory.existing(path).config(), ExportOptions)
    run = RunDirectory.existing(command.config.train.run)
    from xmkeras.run import jobs  # TensorFlow loads once the flags are known to be good

    options = command.options
    directory = jobs.export(
        command.config,
        run,
        options.gallery,
        top_k=options.top_k,
        rerank=options.rerank,
        output=options.output,
        tokenizer=options.export_tokenizer,
    )
    from xmkeras.serving import client, queries

    print(f"SavedModel: {directory}")
    about = client.read_metadata(directory)
    if doubt := about.get("doubt"):
        print(doubt)
    if asked := queries.example(about):
        print(f"Next: python -m xmkeras.search --model={directory.parent.parent} {asked}")
    else:
        print(f"To search in it, export it with the images of a split: --run={run.path} --gallery=test")
    return 0


if __name__ == "__main__":
    sys.exit(flags.main_guard(main))
