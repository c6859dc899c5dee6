"""Pictures of where words look."""

import numpy as np

from tests.retrieval.examples import squares
from xmkeras.retrieval.answers import answer
from xmkeras.retrieval.word_pictures import over_image, word_figure


def drawn(looks, words=None):
    images, texts, captions, thumbnail, asked = squares()
    rows = answer(texts, images, np.arange(2), np.zeros(24, int), k=1)
    figure = word_figure({"Best": rows}, words or captions, texts.ids, thumbnail, looks, credit="A. Painter")
    return figure, rows, texts, asked


def test_a_grid_lies_as_its_regions_do():
    np.testing.assert_array_equal(over_image(np.arange(4.0), None), [[0, 1], [2, 3]])
    assert over_image(np.arange(3.0), None).size == 0


def test_boxes_that_overlap_add_up():
    boxes = np.array([[0, 0, 0.5, 1], [0.25, 0.5, 1, 1], [0.999, 0.0, 0.9995, 0.0001]])
    np.testing.assert_allclose(
        over_image(np.array([0.5, 0.3, 0.2]), boxes, cells=4),
        [[0.5, 0.5, 0, 0.2], [0.5, 0.5, 0, 0], [0.5, 0.8, 0.3, 0.3], [0.5, 0.8, 0.3, 0.3]],
    )


def test_words_stand_under_the_image_of_their_caption():
    seen = []

    def looks(text, image_id):
        seen.append((text, image_id))
        shares = np.array([[0.7, 0.1], [0.1, 0.1]])
        return [("", shares), ("skate", shares), ("##board", shares.T * 0 + 0.25), (".", shares), ("dog", shares)]

    figure, rows, texts, asked = drawn(looks)
    assert seen == [(row.query, texts.ids[row.query]) for row in rows]
    assert asked == [image_id for _, image_id in seen]
    notes = [text.get_text() for text in figure.texts]
    # Pieces are one word again, with the mean of (.7, ...) and (.25, ...) for its shares; a full stop is no word.
    assert notes.count("skateboard  ·  1.9x") == notes.count("dog  ·  2.8x") == 2
    assert not any(note.startswith(".") for note in notes)
    assert "A. Painter" in notes


def test_of_many_words_the_long_ones_that_are_surest_are_shown_in_their_order():
    def looks(text, image_id):
        return [(f"word{n}", np.array([[n + 1.0, 1.0]])) for n in range(12)] + [("the", np.array([[99.0, 0.0]]))]

    notes = [text.get_text().split()[0] for text in drawn(looks)[0].texts if "·" in text.get_text()]
    assert notes == [f"word{n}" for n in range(3, 12)] * 2


def test_a_long_caption_is_cut():
    long = ["word " * 80] * len(squares()[2])
    figure, *_ = drawn(lambda text, image_id: [("word", np.array([[1.0, 0.0]]))], long)
    assert max(len(text.get_text()) for text in figure.texts) < 12 * figure.get_figwidth()


def test_without_words_that_look_there_is_no_picture():
    assert drawn(lambda text, image_id: [])[0] is None
    assert drawn(lambda text, image_id: [("word", np.zeros((0, 0)))])[0] is None
