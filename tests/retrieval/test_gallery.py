"""Which queries are shown, what they found, and that the frames have the right colours."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tests.retrieval.examples import squares
from xmkeras.retrieval import gallery, plots
from xmkeras.retrieval.protocols import rank_both_ways


def count_pixels(picture, colour):
    wanted = np.array(to_rgb(colour)) * 255
    return int((np.abs(picture.astype(float) - wanted).max(axis=-1) < 3).sum())


def test_best_typical_and_worst_are_chosen_without_repetition():
    ranks, asked = np.array([0, 9, 4, 5, 7, 0, 100]), np.array([True] * 6 + [False])
    chosen = gallery.choose_queries(ranks, asked, 2)
    assert list(chosen) == ["best", "typical", "worst"]
    assert set(chosen["best"]) == {0, 5}
    assert chosen["worst"].tolist() == [1, 4]
    assert set(chosen["typical"]) == {2, 3}


@pytest.mark.parametrize("size", [1, 3])
def test_few_queries_are_shown_once(size):
    chosen = gallery.choose_queries(np.arange(size), np.ones(size, bool), 3)
    assert sorted(np.concatenate(list(chosen.values())).tolist()) == list(range(size))


def test_answers_agree_with_the_ranks():
    images, texts, *_ = squares()
    ranked = rank_both_ways(images, texts)
    for found in gallery.answer(texts, images, np.arange(len(texts)), ranked.text_to_image, k=4):
        assert images.ids[found.wanted] == texts.ids[found.query]
        assert found.right.any() == (found.rank < 4)
        if found.right.any():
            assert int(np.argmax(found.right)) == found.rank
        assert (np.diff(found.scores) <= 0).all()


def test_answers_by_label_mark_everything_of_the_class():
    images, texts, *_ = squares(noise=0.0)
    ranked = rank_both_ways(images, texts, relevance="label")
    found = gallery.answer(texts, images, np.array([0]), ranked.text_to_image, k=12, relevance="label")[0]
    assert found.right.sum() == 3


def test_frames_are_green_for_right_and_red_for_wrong():
    images, texts, words, thumbnail, _ = squares(noise=0.0)
    answers = gallery.answer(texts, images, np.arange(2), np.zeros(24, int), k=1)
    picture = plots.figure_pixels(gallery.text_query_figure({"": answers}, words, images.ids, thumbnail))
    assert count_pixels(picture, plots.RIGHT) > 1000
    assert count_pixels(picture, plots.WRONG) == 0
    swapped = gallery.answer(texts, images, np.arange(2), np.zeros(24, int), k=3)
    picture = plots.figure_pixels(gallery.text_query_figure({"": swapped}, words, images.ids, thumbnail))
    assert count_pixels(picture, plots.WRONG) > 1000


def test_images_with_their_captions_are_drawn_with_a_credit():
    images, texts, words, thumbnail, asked = squares()
    ranked = rank_both_ways(images, texts)
    rows = gallery.answer(images, texts, np.arange(3), ranked.image_to_text, k=2)
    plain = gallery.image_query_figure({"Best": rows}, words, images.ids, thumbnail)
    assert asked == images.ids[:3].tolist()
    credited = gallery.image_query_figure({"Best": rows}, words, images.ids, thumbnail, credit="by A. Painter")
    assert "by A. Painter" in [text.get_text() for text in credited.texts]
    assert credited.get_figheight() > plain.get_figheight()


def test_the_picture_for_tensorboard_is_the_same_for_the_same_seed():
    images, texts, words, thumbnail, asked = squares()
    ranks = rank_both_ways(images, texts).text_to_image
    first, again = (
        gallery.query_gallery_figure(images, texts, words, ranks, thumbnail, rows=2, k=3, score=score)
        for score in (None, None)
    )
    assert first.dtype == np.uint8
    assert first.ndim == 3
    np.testing.assert_array_equal(first, again)
    assert set(asked) <= set(images.ids)


def test_a_score_function_is_called_with_images_first():
    images, texts, words, thumbnail, _ = squares()

    def score(left, right):
        assert left.shape[0] <= len(images)
        assert right.shape[0] in (2, 1)
        return left @ right.T

    ranks = rank_both_ways(images, texts).text_to_image
    gallery.query_gallery_figure(images, texts, words, ranks, thumbnail, rows=2, k=3, score=score)
