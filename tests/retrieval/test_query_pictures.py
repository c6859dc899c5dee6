"""The pictures of queries: what they draw, and that the frames have the right colours."""

import numpy as np
from matplotlib.colors import to_rgb

from tests.retrieval.examples import squares
from xmkeras.retrieval import plots, query_pictures
from xmkeras.retrieval.answers import answer
from xmkeras.retrieval.both_ways import rank_both_ways


def count_pixels(picture, colour):
    wanted = np.array(to_rgb(colour)) * 255
    return int((np.abs(picture.astype(float) - wanted).max(axis=-1) < 3).sum())


def test_frames_are_green_for_right_and_red_for_wrong():
    images, texts, words, thumbnail, _ = squares(noise=0.0)
    answers = answer(texts, images, np.arange(2), np.zeros(24, int), k=1)
    picture = plots.figure_pixels(query_pictures.text_query_figure({"": answers}, words, images.ids, thumbnail))
    assert count_pixels(picture, plots.RIGHT) > 1000
    assert count_pixels(picture, plots.WRONG) == 0
    swapped = answer(texts, images, np.arange(2), np.zeros(24, int), k=3)
    picture = plots.figure_pixels(query_pictures.text_query_figure({"": swapped}, words, images.ids, thumbnail))
    assert count_pixels(picture, plots.WRONG) > 1000


def test_images_with_their_captions_are_drawn_with_a_credit():
    images, texts, words, thumbnail, asked = squares()
    ranked = rank_both_ways(images, texts)
    rows = answer(images, texts, np.arange(3), ranked.image_to_text, k=2)
    plain = query_pictures.image_query_figure({"Best": rows}, words, images.ids, thumbnail)
    assert asked == images.ids[:3].tolist()
    credited = query_pictures.image_query_figure({"Best": rows}, words, images.ids, thumbnail, credit="by A. Painter")
    assert "by A. Painter" in [text.get_text() for text in credited.texts]
    assert credited.get_figheight() > plain.get_figheight()


def test_the_picture_for_tensorboard_is_the_same_for_the_same_seed():
    images, texts, words, thumbnail, asked = squares()
    ranks = rank_both_ways(images, texts).text_to_image
    first, again = (
        query_pictures.query_gallery_figure(images, texts, words, ranks, thumbnail, rows=2, k=3, score=score)
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
    query_pictures.query_gallery_figure(images, texts, words, ranks, thumbnail, rows=2, k=3, score=score)


def test_neighbours_are_drawn_with_the_image_that_asks_first():
    images, _, _, thumbnail, asked = squares()
    rows = answer(images, None, np.array([4]), np.full(12, 5), k=3, relevance="label")
    figure = query_pictures.neighbour_figure({"Best": rows}, images.ids, thumbnail)
    missed = [] if rows[0].right.any() else [rows[0].wanted]
    assert asked == images.ids[[4, *rows[0].answers, *missed]].tolist()
    assert figure.axes[0].get_position().x0 < min(axes.get_position().x0 for axes in figure.axes[1:])
