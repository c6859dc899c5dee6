"""Which of the figures that are measured change from one evaluation to the next."""

from tests.retrieval.examples import pairs, squares
from xmkeras.retrieval.measured import Split
from xmkeras.retrieval.protocols import load_protocol


def test_scalars_leave_sizes_and_chance_out():
    images, texts = pairs()
    measured = load_protocol("captions").measure(Split(images, texts, [], label_kind="image"))
    assert len(measured.scalars) == 11
    assert measured.scalars["rsum"] == measured.results["rsum"]
    left_out = measured.results.keys() - measured.scalars.keys()
    assert {name for name in left_out if not name.startswith("chance/")} == {
        f"{way}/{size}" for way in ("text_to_image", "image_to_text") for size in ("queries", "gallery")
    }


def test_sizes_of_one_side_and_of_the_whole_gallery_are_none():
    images, *_ = squares()
    alone = load_protocol("zero_shot").measure(Split(images, None, [], label_kind="class"))
    assert not alone.scalars.keys() & {"queries", "gallery", "classes", "chance/R@1"}
    folded = load_protocol("folds").measure(Split(*pairs(), [], label_kind="image"))
    assert not [name for name in folded.scalars if name.endswith(("queries", "gallery")) or "chance" in name]
