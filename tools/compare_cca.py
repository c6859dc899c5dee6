"""Trains a flagfile with several seeds and holds it against regularised CCA on the same photographs, in one run.

    python -m tools.compare_cca --flagfile=flags/cmpm_photos.cfg --table=pairs.jsonl --weights=mobilenet.weights.h5

Both see the same table, split and ImageNet features; whatever either leaves open is chosen on validation, and the
test split is ranked once a seed. The difference of rsum is resampled over images with their captions (paired
bootstrap).
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tools.cca_baseline import choose
from tools.cca_features import load_photographs
from xmkeras.retrieval import metrics
from xmkeras.retrieval.both_ways import BothWays, rank_both_ways
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.ranking import ranks_both_ways

KS = (1, 5, 10)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one row a seed, the baseline's row, and the differences; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flagfile", default="flags/cmpm_photos.cfg")
    parser.add_argument("--table", required=True, help="image, captions, split")
    parser.add_argument("--weights", required=True, help="MobileNet v1 ImageNet weights without top")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--split", default="test")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--json", default="", help="file for the figures")
    options = parser.parse_args(argv)
    trained, minutes = [], []
    for seed in options.seeds.split(","):
        run = options.runs / f"{pathlib.Path(options.flagfile).stem}_seed{seed}"
        started = time.monotonic()
        data = [f"--table={options.table}", f"--image_weights={options.weights}"]
        _command("train", f"--flagfile={options.flagfile}", *data, f"--run={run}", f"--seed={seed}")
        minutes.append((time.monotonic() - started) / 60)
        _command("evaluate", f"--run={run}", f"--split={options.split}")
        sets = [EmbeddingSet.load(run / "embeddings" / options.split / side) for side in ("images", "texts")]
        trained.append((rank_both_ways(*sets), sets))
    (_, (images, texts)) = trained[0]
    baseline = _cca(options, images.ids)
    rows = {
        f"trained, seed {seed}": recalls_of(found)
        for seed, (found, _) in zip(options.seeds.split(","), trained, strict=True)
    }
    rows["CCA"] = recalls_of(baseline)
    table = pd.DataFrame(rows).T
    print(table.round(1).to_string())
    own = [_by_image(found, images.ids, texts.ids) for found, _ in trained]
    linear = _by_image(baseline, images.ids, texts.ids)
    differences = {
        f"seed {s}": metrics.paired_bootstrap(o, linear) for s, o in zip(options.seeds.split(","), own, strict=True)
    }
    differences["mean of seeds"] = metrics.paired_bootstrap(np.mean(own, axis=0), linear)
    for name, difference in differences.items():
        print(f"rsum, trained - CCA, {name}: {difference}")
    print(f"minutes of training: {', '.join(f'{m:.1f}' for m in minutes)}")
    if options.json:
        figures = {"recalls": rows, "differences": {n: str(d) for n, d in differences.items()}, "minutes": minutes}
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=1), "utf-8")
    return 0


def _command(name: str, *arguments: str) -> None:
    print(f"$ python -m xmkeras.{name} {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", f"xmkeras.{name}", *arguments], check=True)


def _cca(options: argparse.Namespace, ids: np.ndarray) -> BothWays:
    """The baseline's ranks on the images `ids`, in their order."""
    splits = load_photographs(options.table, "", options.weights)
    baseline = choose(splits["train"], splits["validation"])
    wanted = splits[options.split]
    scores = baseline.similarity(wanted)  # captions x images
    if len(wanted.features) != len(ids):
        raise SystemExit(f"CCA read {len(wanted.features)} images and the model {len(ids)}: are some of them broken?")
    return ranks_of(scores, wanted.image_of_text)


def ranks_of(scores: np.ndarray, image_of_text: np.ndarray) -> BothWays:
    """Ranks both ways from scores (captions, images) and the image of each caption."""
    texts, images = np.arange(scores.shape[0]), np.arange(scores.shape[1])
    image_to_text, text_to_image = ranks_both_ways(
        images, texts, images, image_of_text, score=lambda i, t: scores.T[np.ix_(i, t)]
    )
    captions = np.bincount(image_of_text, minlength=len(images))
    return BothWays(image_to_text, text_to_image, captions, np.ones(len(texts), np.int64))


def recalls_of(found: BothWays) -> dict[str, float]:
    ways = {"text_to_image": found.text_to_image, "image_to_text": found.image_to_text}
    recalls = {f"{way}/R@{k}": metrics.recall_at_k(r, k) for way, r in ways.items() for k in KS}
    return recalls | {"rsum": sum(recalls.values())}


def _by_image(found: BothWays, image_ids: np.ndarray, text_ids: np.ndarray) -> np.ndarray:
    return metrics.rsum_by_image(found.image_to_text, found.text_to_image, image_ids, text_ids, KS)


if __name__ == "__main__":
    sys.exit(main())
