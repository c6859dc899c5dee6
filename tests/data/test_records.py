"""Tests of xmkeras/data/records.py."""

from __future__ import annotations

import pytest

from xmkeras.data.records import read_records
from xmkeras.errors import UserError


def read(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [(record.line, record.fields) for record in read_records(str(path))]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_any_usual_delimiter(tmp_path, delimiter):
    text = f"image{delimiter} caption \na.png{delimiter}a cat\n"
    assert read(tmp_path / "a.csv", text) == [(2, {"image": "a.png", "caption": "a cat"})]


def test_a_quoted_line_break_does_not_shift_the_line_numbers_of_errors(tmp_path):
    records = read(tmp_path / "a.csv", 'image,caption\r\na.png,"one\ntwo"\r\nb.png,"say ""hi"", you"\r\n')
    assert records[0] == (3, {"image": "a.png", "caption": "one\ntwo"})
    assert records[1] == (4, {"image": "b.png", "caption": 'say "hi", you'})


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path):
    assert read(tmp_path / "a.csv", b"\xef\xbb\xbfimage,caption\na,b\n")[0][1].keys() == {"image", "caption"}


def test_json_lines_skip_blank_lines_but_count_them(tmp_path):
    assert read(tmp_path / "a.jsonl", '{"a": 1}\n\n{"a": [2]}\n') == [(1, {"a": 1}), (3, {"a": [2]})]


def test_a_json_array_counts_items(tmp_path):
    assert read(tmp_path / "a.json", '[{"a": 1},\n {"a": 2}]') == [(1, {"a": 1}), (2, {"a": 2})]


def test_a_header_alone_has_no_records(tmp_path):
    assert read(tmp_path / "a.csv", "image,caption\n") == []


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.jsonl", " \n \n", "is empty"),
        ("a.csv", "image,caption\na.png,one,two\n", "a.csv line 2: another number of fields than the 2"),
        ("a.csv", "image,caption\na.png,one\nb.png\n", "a.csv line 3: another number of fields"),
        ("a.jsonl", '{"a": 1}\n{"a": }\n', r"a.jsonl line 2: not valid JSON \(.*column 7\)"),
        ("a.jsonl", "plain text\n", "a.jsonl line 1: not valid JSON"),
        ("a.jsonl", '{"a": 1}\n[1]\n', "a.jsonl line 2: expected an object"),
        ("a.json", '[{"a": 1}, 2]', "a.json item 2: expected an object"),
        ("a.json", '[{"a": 1},\n', "a.json line 2: not valid JSON"),
        ("a.csv", 'image,caption\na.png,"one\nb.png,two\nc.png,three\n', "a.csv line 2: a quote in this record is nei"),
        ("a.csv", 'image,caption\na.png,x\nb.png,"two\nc.png,"three"\n', "a.csv line 3: a quote in this record is nei"),
        ("a.csv", b"image,caption\na.png,\xff\xfe\n", "is not UTF-8 text"),
    ],
)
def test_faults_are_one_sentence_with_the_line(tmp_path, name, text, message):
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path / name, text)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"Cannot read .*none.csv: No such file"):
        list(read_records(str(tmp_path / "none.csv")))
    with pytest.raises(UserError, match="Cannot read"):
        list(read_records(str(tmp_path)))
