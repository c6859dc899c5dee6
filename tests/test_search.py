"""The search command: what it prints, and what it says in one sentence."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.serving.toys import IMAGES, SENTENCES, TEXTS, image_toy, pairs_toy, vector_toy, words_toy
from xmkeras import flags, search
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
        (["--text_features={}/words.npy", "--labels=a,b", "--images={}"], "--labels is searched itself"),
        (["--text_features={}/words.npy", "--labels=a,b"], "takes text vectors of 6 numbers"),
        (["--text_features={}/words.npy", "--html={}/nowhere/a.html"], "lies in no folder"),
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


def test_labels_are_ordered_by_how_well_they_fit_a_picture(tmp_path, capsys):
    toy = words_toy()
    toy.export(tmp_path)
    np.save(tmp_path / "pictures.npy", IMAGES[:2])
    (tmp_path / "labels.txt").write_text("\n".join([*SENTENCES, ""]))
    argv = [f"--model={tmp_path}", f"--image_features={tmp_path}/pictures.npy", "--top=4"]
    assert search.main([*argv, f"--labels={tmp_path}/labels.txt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    distinct = list(dict.fromkeys(SENTENCES))
    scores = toy.scores("image", "text")[0][[SENTENCES.index(one) for one in distinct]]
    assert [line.split("  ")[-1] for line in lines[1:5]] == [distinct[place] for place in np.argsort(-scores)[:4]]
    assert search.main([*argv, "--labels=two dogs, a red heart"]) == 0
    assert set(capsys.readouterr().out.splitlines()[1].split("  ")[-1:]) < {"two dogs", "a red heart"}
    for labels, sentence in (("a,,b", "A label is blank"), (f"{tmp_path}/pictures.npy", "cannot be read as text")):
        with pytest.raises(UserError, match=sentence):
            search.main([*argv, f"--labels={labels}"])
    with pytest.raises(UserError, match="is blank"):
        search.main([f"--model={tmp_path}", "--text= "])


@pytest.mark.parametrize("description", ["{}", "[]", "3", "{", '{"fingerprint": "a"}'])
def test_a_description_of_something_else_is_one_sentence(tmp_path, vectors, description):
    shutil.copytree(vectors, tmp_path / "copy")
    (tmp_path / "copy" / "saved_model" / "1" / "assets.extra" / "xmkeras.json").write_text(description)
    with pytest.raises(UserError, match="is not a SavedModel of xmkeras"):
        search.main([f"--model={tmp_path}/copy", f"--text_features={vectors}/words.npy"])


@pytest.mark.parametrize("missing", ["variables", "variables/variables.index", "saved_model.pb", "fingerprint.pb"])
def test_a_model_that_was_copied_in_part_is_one_sentence(tmp_path, vectors, missing, capsys):
    shutil.copytree(vectors, tmp_path / "copy")
    path = tmp_path / "copy" / "saved_model" / "1" / missing
    path.write_bytes(path.read_bytes()[:20]) if path.suffix == ".pb" else shutil.rmtree(path, ignore_errors=True)
    if path.suffix == ".index":
        path.unlink()
    argv = [f"--model={tmp_path}/copy", f"--text_features={vectors}/words.npy"]
    status = flags.main_guard(search.main, argv)
    assert status == (0 if missing == "fingerprint.pb" else 2)
    assert "Traceback" not in capsys.readouterr().err
