"""Tests of xmkeras/data/roles.py."""

from __future__ import annotations

import pytest

from xmkeras.data.roles import find_columns, parse_columns
from xmkeras.errors import UserError

USUAL = {"image": ("image", "file"), "caption": ("caption", "text"), "id": ("id",)}


def test_columns_are_written_by_role_and_captions_may_be_several():
    columns = parse_columns("image=path, caption=title ,caption=alt text")
    assert columns == {"image": "path", "caption": "title,alt text"}
    assert parse_columns("") == {}


@pytest.mark.parametrize("text", ["picture=path", "path", "image=", "image=path,title"])
def test_what_is_no_role_and_column_is_one_sentence(text):
    with pytest.raises(UserError, match="the roles are image, caption, text, label, id, split, category") as caught:
        parse_columns(text)
    assert f"--columns={text}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_named_columns_come_before_usual_names_and_keep_their_one_role():
    found = find_columns(["File", "text", "id"], {"caption": "id, text"}, USUAL, "pairs.csv")
    assert found == {"image": ["File"], "caption": ["id", "text"], "id": []}


def test_the_first_usual_name_is_taken():
    assert find_columns(["text", "caption", "file"], {}, USUAL, "pairs.csv")["caption"] == ["caption"]


def test_a_named_column_that_is_not_there():
    with pytest.raises(UserError, match=r"pairs\.csv has no column 'alt'; its columns are image, caption"):
        find_columns(["image", "caption"], {"caption": "alt"}, USUAL, "pairs.csv")
