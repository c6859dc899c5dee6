"""What every protocol promises: its name, its figures before and after, one score for all of them."""

import numpy as np
import pytest

from tests.retrieval.examples import squares
from xmkeras.errors import UserError
from xmkeras.retrieval.measured import Show, Split
from xmkeras.retrieval.protocols import load_protocol, protocol_names
from xmkeras.retrieval.score_matrix import MatrixScore, by_place
from xmkeras.retrieval.scores import scorer_of

NAMES = ("captions", "classes", "folds", "vectors", "zero_shot")
KINDS = ("class", "identity", "image")


def split(protocol, images=30):
    """Images, texts and captions as a protocol takes them, and a thumbnail function."""
    pictures, texts, words, thumbnail, _ = squares(images=images)
    return (pictures, texts, words) if "text" in protocol.sides else (pictures, None, []), thumbnail


def euclidean_matrix(one, other):
    scorer = scorer_of("euclidean")
    return scorer.exact(scorer.prepare(one.vectors), scorer.prepare(other.vectors))


def test_the_folder_is_the_list_of_protocols():
    assert tuple(protocol_names()) == NAMES
    with pytest.raises(UserError, match="'reed'; choose one of captions, classes, folds, vectors, zero_shot"):
        load_protocol("reed")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("images", [30, 60])
def test_the_figures_are_known_before_anything_is_measured(name, kind, images):
    protocol = load_protocol(name)
    data, _ = split(protocol, images)
    measured = protocol.measure(Split(*data, label_kind=kind))
    figures = protocol.figures(kind, images)
    assert sorted(figures) == sorted(measured.scalars)
    assert protocol.best_metric in figures
    assert all(np.isfinite(value) for value in measured.results.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_by_the_score_that_is_given(name):
    protocol = load_protocol(name)
    data, _ = split(protocol)
    by_name = protocol.measure(Split(*data, label_kind="class", score="euclidean"))
    gallery = data[1] or data[0]
    cosine = protocol.measure(Split(*data, label_kind="class"))

    def function(one, other):
        return euclidean_matrix(*(type(gallery)(np.arange(len(x)), np.arange(len(x)), x) for x in (one, other)))

    by_function = protocol.measure(Split(*data, label_kind="class", score=function))
    for figure in protocol.figures("class", 30):
        # Clusters of a function's items are those of their unit vectors.
        if figure != "NMI":
            assert by_name.scalars[figure] == pytest.approx(by_function.scalars[figure]), figure
    changed = [figure for figure, value in by_name.scalars.items() if value != cosine.scalars[figure]]
    assert {"mAP"} <= {figure.rpartition("/")[2] for figure in changed} or name in ("captions", "folds")
    assert changed


@pytest.mark.parametrize("name", ["captions", "vectors", "folds", "zero_shot"])
def test_a_matrix_of_scores_is_measured_like_vectors(name):
    protocol = load_protocol(name)
    (images, texts, words), thumbnail = split(protocol)
    by_vectors = protocol.measure(Split(images, texts, words, label_kind="identity", score="euclidean"))
    score = MatrixScore(euclidean_matrix(images, texts or images))
    places = by_place(images), texts and by_place(texts)
    by_matrix = protocol.measure(Split(*places, words, label_kind="identity", score=score))
    missing = {"NMI"} if name == "zero_shot" else set()
    assert by_vectors.results.keys() - by_matrix.results.keys() == missing
    assert {n: by_vectors.results[n] for n in by_matrix.results} == pytest.approx(by_matrix.results)
    titles = [section.title for section in protocol.sections(by_matrix, Show(thumbnail=thumbnail, examples=1))]
    assert titles
    assert "The space" not in titles


def test_classes_need_vectors_and_pairs_need_texts():
    images, texts, words, *_ = squares()
    score = MatrixScore(euclidean_matrix(images, texts))
    places = (by_place(images), by_place(texts))
    with pytest.raises(UserError, match="--protocol=captions"):
        load_protocol("classes").measure(Split(*places, words, label_kind="class", score=score))
    for name in ("captions", "classes", "vectors", "folds"):
        with pytest.raises(UserError, match="--protocol=zero_shot"):
            load_protocol(name).measure(Split(images, None, [], label_kind="class"))


@pytest.mark.parametrize("name", NAMES)
def test_sections_without_pictures_ask_for_none(name):
    protocol = load_protocol(name)
    data, thumbnail = split(protocol, images=10)
    measured = protocol.measure(Split(*data, label_kind="class"))
    titles = [section.title for section in protocol.sections(measured, Show())]
    pictured = protocol.sections(measured, Show(thumbnail=thumbnail, examples=1))
    assert set(titles) < {section.title for section in pictured}
    assert all(picture.figure.axes for section in pictured for picture in section.pictures)
