"""The search command: what it prints, and what it says in one sentence."""

from __future__ import annotations

import numpy as np
import pytest

from tests.serving.toys import IMAGES, SENTENCES, TEXTS, image_toy, pairs_toy, vector_toy, words_toy
from xmkeras import search
from xmkeras.errors import UserError


@pytest.fixture(scope="module")
def vectors(tmp_path_factory) -> str:
    """A run of vectors with both galleries, and the files to ask it with."""
    folder = tmp_path_factory.mktemp("vectors")
    vector_toy("euclidean").export(folder, "image", "text")
    np.save(folder / "words.npy", TEXTS[:2])
    np.save(folder / "pictures.npy", IMAGES[:1])
    return str(folder)


def test_rows_of_files_find_packed_images(vectors, capsys):
    argv = [f"--model={vectors}", f"--text_features={vectors}/words.npy", "--top=3"]
    assert search.main([*argv, f"--image_features={vectors}/pictures.npy"]) == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if "row" in line] == [
        *("words.npy row 1", "words.npy row 2", "pictures.npy row 1")
    ]
    assert printed.count("  image") == 9
    assert printed.splitlines()[-3].endswith("image0")


def test_a_picture_finds_packed_sentences(tmp_path, capsys):
    toy = words_toy()
    model = toy.export(tmp_path, "text")
    np.save(tmp_path / "pictures.npy", IMAGES[:1])
    assert search.main([f"--model={tmp_path}", f"--image_features={tmp_path}/pictures.npy", "--find=texts"]) == 0
    best = toy.scores("image", "text")[0].argmax()
    assert capsys.readouterr().out.splitlines()[1].endswith(f"  text{best}")
    assert len(SENTENCES) == model.metadata["gallery"]["texts"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--text=two dogs"], r"takes text vectors of 6 numbers \(--text_features=FILE\.npy\)"),
        (["--text=two dogs", "--gallery=test"], r"takes text vectors of 6 numbers"),
        (["--image=a.png"], r"takes image vectors of 8 numbers \(--image_features=FILE\.npy\)"),
        (["--text_features={}/words.npy", "--images={}"], r"takes image vectors of 8 numbers"),
        (["--text_features={}/words.npy", "--images={}", "--find=texts"], "holds no texts"),
        (["--text_features={}/words.npy", "--gallery=train"], "holds the gallery 'test', not 'train'"),
        (["--text_features={}/words.npy", "--top=0"], "--top=0 has to be 1 or greater"),
        (["--text_features={}/words.npy", "--find=texts", "--html=a.html"], "leave --html away"),
        (["--text_features={}/missing.npy"], "There is no feature file"),
    ],
)
def test_mistakes_are_one_sentence(vectors, flags, sentence):
    with pytest.raises(UserError, match=sentence):
        search.main([f"--model={vectors}", *(flag.format(vectors) for flag in flags)])


def test_a_question_is_needed(monkeypatch, vectors):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(UserError, match="Search for what"):
        search.main([f"--model={vectors}"])
    with pytest.raises(UserError, match="Which model"):
        search.main([])


def test_what_is_not_packed_is_one_sentence(tmp_path):
    np.save(tmp_path / "pictures.npy", IMAGES[:1])
    image_toy().export(tmp_path / "alone", "image")
    asked = f"--image_features={tmp_path}/pictures.npy"
    with pytest.raises(UserError, match=r"no texts packed; export it with --gallery=test\."):
        search.main([f"--model={tmp_path}/alone", asked, "--find=texts"])
    image_toy().export(tmp_path / "bare")
    with pytest.raises(UserError, match="no images packed; export it with --gallery=test"):
        search.main([f"--model={tmp_path}/bare", asked])


def test_pairs_search_across_the_sides_alone(tmp_path, capsys):
    toy = pairs_toy("image", "text")
    toy.export(tmp_path, "image", "text")
    assert search.main([f"--model={tmp_path}", f"--text={SENTENCES[0]}", "--top=1"]) == 0
    best = toy.scores("text", "image")[0].argmax()
    assert capsys.readouterr().out.splitlines()[1].endswith(f"  image{best}")
    with pytest.raises(UserError, match="scores images with texts, so that texts find no texts in it"):
        search.main([f"--model={tmp_path}", f"--text={SENTENCES[0]}", "--find=texts"])
