"""Zero-shot retrieval: the vectors, loop twins, duplicates, and items alone in their class."""

import json
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import ranking as reference
from tests.retrieval.examples import squares
from xmkeras.errors import UserError
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.measured import Show, Split
from xmkeras.retrieval.protocols.zero_shot import PROTOCOL, plurality, zero_shot

VECTORS = json.loads((pathlib.Path(__file__).parents[2] / "vectors.json").read_text())["zero_shot_metrics"]


def embeddings(vectors, labels):
    return EmbeddingSet(np.arange(len(labels)).astype(str), np.asarray(labels), np.asarray(vectors, np.float32))


def sample(labels="labels"):
    return embeddings(VECTORS["inputs"]["embeddings"], VECTORS["inputs"][labels])


def test_recalls_and_neighbours_agree_with_the_vectors():
    expected = VECTORS["expected"]
    found = zero_shot(sample(), score="euclidean", ks=(1, 2, 4))
    assert [found[f"R@{k}"] for k in (1, 2, 4)] == pytest.approx([100 * r for r in expected["recall_at_1_2_4"]])
    assert found["kNN_accuracy"] == pytest.approx(100 * expected["knn_acc_3_of_5"])
    assert (found["queries"], found["gallery"], found["classes"]) == (10, 9, 2)


@pytest.mark.parametrize(
    ("rule", "name"), [("three_of_five", "labels3_knn_acc_3_of_5"), ("plurality", "labels3_knn_acc_plurality")]
)
def test_both_rules_of_neighbours_agree_with_the_vectors(rule, name):
    found = zero_shot(sample("labels3"), score="euclidean", knn=rule)
    assert found["kNN_accuracy"] == pytest.approx(100 * VECTORS["expected"][name])


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["pessimistic", "optimistic", "index"]), st.booleans())
def test_figures_equal_the_loop_twins_on_vectors_that_tie(seed, ties, euclidean):
    generator = np.random.default_rng(seed)
    vectors = generator.integers(-1, 2, (12, 2)).astype(np.float32)
    labels = np.concatenate([generator.integers(0, 4, 10), [8, 8]])
    twin = reference.minus_squared_distances if euclidean else reference.cosine_scores
    rankings = reference.without_self(np.array(twin(vectors, vectors)), labels.tolist(), ties)
    asked = [ranking for ranking in rankings if any(ranking)]
    data, score = embeddings(vectors, labels), "euclidean" if euclidean else None
    found = zero_shot(data, ties=ties, score=score, chunk_bytes=1, n_init=1)
    for k in (1, 2, 4, 8):
        assert found[f"R@{k}"] == pytest.approx(100 * np.mean([any(ranking[:k]) for ranking in asked]))
    assert found["kNN_accuracy"] == pytest.approx(100 * np.mean([sum(ranking[:5]) >= 3 for ranking in asked]))
    assert found["mAP"] == pytest.approx(100 * np.mean([reference.average_precision(r) for r in asked]))
    assert found["MAP@R"] == pytest.approx(100 * np.mean([reference.map_at_r(r) for r in asked]))
    assert found["mINP"] == pytest.approx(100 * np.mean([reference.inverse_negative_penalty(r) for r in asked]))


def test_a_duplicate_stays_when_the_item_itself_is_left_out():
    vectors = np.eye(4)[[0, 0, 1, 2, 3]]
    found = zero_shot(embeddings(vectors, [0, 0, 1, 1, 1]), n_init=1)
    assert found["R@1"] == pytest.approx(100 * 2 / 5)
    apart = zero_shot(embeddings(vectors, [0, 1, 1, 0, 0]), n_init=1)
    assert apart["R@1"] == 0


def test_the_most_frequent_label_of_neighbours_that_are_all_alike():
    labels = np.array([0, 0, 1, 1, 2, 2, 2])
    # The vote of the item itself is missing, so that its own label may lose or tie.
    assert plurality(np.ones((7, 3), np.float32), labels, k=6).tolist() == [2, 2, 2, 2, 0, 0, 0]
    assert plurality(np.ones((2, 3), np.float32), np.array([4, 3])).tolist() == [3, 4]


def test_a_perfect_model_and_an_item_alone():
    labels = np.repeat(np.arange(5), 6)
    data = embeddings(np.eye(5)[labels], labels)
    found = zero_shot(data, n_init=2)
    for name in ("R@1", "mAP", "MAP@R", "mINP", "kNN_accuracy", "NMI"):
        assert found[name] == pytest.approx(100)
    assert found["chance/R@1"] == pytest.approx(100 * 5 / 29)
    alone = embeddings(np.eye(6)[[*labels, 5]], [*labels, 9])
    assert zero_shot(alone, n_init=2)["queries"] == 30


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(UserError, match="no two items"):
        zero_shot(embeddings(np.eye(3), [0, 1, 2]))
    with pytest.raises(UserError, match="not finite"):
        zero_shot(embeddings(np.full((3, 2), np.nan), [0, 0, 0]))


def test_the_section_shows_images_with_their_neighbours():
    images, _, _, thumbnail, asked = squares(images=30)
    measured = PROTOCOL.measure(Split(images, None, [], label_kind="class", ties="optimistic"))
    assert measured.results == zero_shot(images, ties="optimistic")
    assert (measured.ranked, measured.texts, measured.captions) == (None, None, [])
    (section,) = PROTOCOL.sections(measured, Show(thumbnail=thumbnail, examples=2, k=4, credit="A. Painter"))
    figure = section.pictures[0].figure
    assert sum(text.get_text().startswith("rank ") for text in figure.texts) == 6
    assert len(asked) == len(figure.axes) >= 6 * 5


def test_a_section_shows_where_attention_looks():
    images, _, _, thumbnail, _ = squares(images=30)
    measured = PROTOCOL.measure(Split(images, None, [], label_kind="class"))
    weights = {"block5": np.pad([[1.0]], (0, 6)), "head": np.ones((7, 7))}
    show = Show(thumbnail=thumbnail, attended=lambda image_id: weights, examples=2)
    figure = PROTOCOL.sections(measured, show)[1].pictures[0].figure
    notes = [text.get_text() for text in figure.texts]
    assert notes.count("block5  ·  49.0x") == notes.count("head  ·  1.0x") == 6
    drawn = [axes.images for axes in figure.axes]
    assert [len(pictures) for pictures in drawn] == [1, 2, 2] * 6
    # As large as the picture, whatever the size of the map.
    assert drawn[1][1].get_extent() == drawn[1][0].get_extent()
    plain = Show(thumbnail=thumbnail, attended=lambda image_id: {}, examples=2)
    assert len(PROTOCOL.sections(measured, plain)) == 1
