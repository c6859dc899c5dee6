"""The written report: its numbers, its pictures and what it asks of the data."""

import re

import numpy as np
from matplotlib.image import imread

from tests.retrieval.examples import squares
from xmkeras.retrieval.measured import Show, Split
from xmkeras.retrieval.protocols import load_protocol
from xmkeras.retrieval.report import write_report


def write(folder, **options):
    images, texts, words, thumbnail, asked = squares(images=30)
    protocol = load_protocol("captions")
    measured = protocol.measure(Split(images, texts, words, label_kind="image"))
    show = Show(thumbnail=thumbnail, examples=1, k=3, credit=options.get("credit", ""))
    sections = protocol.sections(measured, show)
    path = write_report(folder, title="Squares: test split", results=measured.results, sections=sections, **options)
    return path.read_text(), measured.results, asked


def test_the_report_shows_its_numbers_and_all_its_pictures(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,loss,text_to_image/R@1\n1,2.0,\n2,1.0,40\n")
    text, results, asked = write(
        tmp_path, metrics_csv=tmp_path / "metrics.csv", credit="A. Painter, CC BY 4.0", notes="Step 2."
    )
    assert text.startswith("# Squares: test split\n\nStep 2.\n")
    assert f"| {results['text_to_image/R@1']:.1f} |" in text
    assert "A. Painter, CC BY 4.0" in text
    pictures = re.findall(r"!\[[^\]]+\]\((\S+)\)", text)
    assert pictures == [f"report/{name}.png" for name in ("ranks", "text_to_image", "image_to_text", "training")]
    for picture in pictures:
        pixels = imread(tmp_path / picture)
        assert min(pixels.shape[:2]) > 100
        assert np.ptp(pixels) > 0.5
    assert len(set(asked)) <= 3 * 4 + 3


def test_a_report_without_a_training_leaves_its_curves_out(tmp_path):
    text, _, _ = write(tmp_path, metrics_csv=tmp_path / "nothing.csv")
    assert "training" not in text.lower()
    assert "Images:" not in text
