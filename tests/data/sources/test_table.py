"""Tests of xmkeras/data/sources/table.py."""

from __future__ import annotations

import collections
import json

import numpy as np
import pytest

from xmkeras.data.sources import SourceOptions
from xmkeras.data.sources.table import find_columns, load
from xmkeras.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """A folder with three images and room for a table."""
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def load_text(folder, text, name="pairs.csv", **options):
    (folder / name).write_text(text)
    return load(SourceOptions(table=str(folder / name), **options))


def load_lines(folder, *records, **options):
    return load_text(folder, "\n".join(map(json.dumps, records)), "pairs.jsonl", **options)


def test_repeated_rows_of_an_image_are_merged(folder):
    table = load_text(
        folder, "image,caption,split\na.png,one,train\nb.png,two,train\na.png,three,train\na.png,one,train\n"
    )
    assert table.captions == [("one", "three"), ("two",)]
    assert table.image_ids == ["a.png", "b.png"]
    assert table.label_kind == "image"
    assert table.num_labels == 2
    assert table.name == "pairs"


def test_captions_come_as_a_list_a_json_cell_or_several_columns(folder):
    listed = load_lines(folder, {"image": "a.png", "captions": ["one", "", "two"], "split": "train"})
    cell = load_text(folder, 'image,captions\na.png,"[""one"", ""two""]"\n')
    columns = load_text(folder, "image,caption_1,caption_2,caption_3\na.png,one,,two\n")
    assert listed.captions == cell.captions == columns.captions == [("one", "two")]


def test_a_caption_that_only_looks_like_a_list_stays_text(folder):
    assert load_text(folder, 'image,caption\na.png,"[""quoted"" words"\n').captions == [('["quoted" words',)]


def test_splits_are_spelled_variously(folder):
    table = load_text(folder, "image,caption,split\na.png,x,Training\nb.png,y,val\nc.png,z,TEST\n")
    assert table.splits.tolist() == ["train", "validation", "test"]


def test_labels_categories_and_ids_are_read(folder):
    text = "Image_Path,Text,Class,ID,Category\na.png,x,rose,i1,flower\nb.png,y,oak,i2,tree\n"
    table = load_text(folder, text)
    assert table.label_kind == "class"
    assert table.label_names == ["oak", "rose"]
    assert table.image_ids == ["i1", "i2"]
    assert table.categories == ["flower", "tree"]


@pytest.mark.parametrize(
    ("header", "options", "kind"),
    [
        ("label", {}, "class"),
        ("person_id", {}, "identity"),
        ("id", {"columns": {"label": "id"}}, "identity"),
        ("label", {"label_kind": "identity"}, "identity"),
        ("colour", {}, "image"),
        ("colour", {"columns": {"label": "colour"}}, "class"),
    ],
)
def test_what_a_label_stands_for(folder, header, options, kind):
    assert load_text(folder, f"image,caption,{header}\na.png,x,1\n", **options).label_kind == kind


def test_named_columns_come_before_usual_names(folder):
    text = "image,thumbnail,caption,alt\na.png,b.png,not this,this\n"
    table = load_text(folder, text, columns={"image": "thumbnail", "caption": "alt, caption"})
    assert table.read_bytes(0) == b"b.png"
    assert table.captions == [("this", "not this")]


def test_images_lie_beside_the_table_or_under_the_image_root(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "a.png").write_bytes(b"elsewhere")
    text = "image,caption\na.png,x\n"
    assert load_text(folder, text).read_bytes(0) == b"a.png"
    assert load_text(folder, text, image_root=str(elsewhere)).read_bytes(0) == b"elsewhere"
    assert load_text(folder, f"image,caption\n{elsewhere}/a.png,x\n").read_bytes(0) == b"elsewhere"


def many(labels: int) -> str:
    return "image,caption,label\n" + "".join(f"{n}.png,words,{n % labels}\n" for n in range(3000))


def test_a_missing_split_is_a_seeded_hash_of_the_id(folder):
    options = {"check_images": False, "validation_share": 0.1, "test_share": 0.2}
    first = load_text(folder, many(10), **options)
    again = load_text(folder, many(10), "copy.csv", **options)
    other = load_text(folder, many(10), seed=1, **options)
    counts = collections.Counter(first.splits.tolist())
    assert counts["test"] == pytest.approx(600, abs=60)
    assert counts["validation"] == pytest.approx(300, abs=50)
    assert first.splits.tolist() == again.splits.tolist() != other.splits.tolist()


def test_rows_do_not_change_their_split_when_others_are_added(folder):
    text = many(10)
    few = load_text(folder, text[: text.index("100.png")], check_images=False)
    all_rows = load_text(folder, text, check_images=False)
    assert few.splits.tolist() == all_rows.splits.tolist()[: len(few)]


def test_identities_are_disjoint_on_request(folder):
    table = load_text(folder, many(300), check_images=False, identity_disjoint=True)
    owners = collections.defaultdict(set)
    for label, split in zip(table.labels.tolist(), table.splits.tolist(), strict=True):
        owners[label].add(split)
    assert {len(splits) for splits in owners.values()} == {1}
    assert len(set(table.splits.tolist())) == 3


def test_a_split_column_that_is_empty_throughout_counts_as_missing(folder):
    text = "image,caption,split\n" + "".join(f"{n}.png,words,\n" for n in range(200))
    assert len(load_text(folder, text, check_images=False).split_names) == 3


def test_fields_may_first_appear_in_later_json_records(folder):
    table = load_lines(
        folder,
        {"image": "a.png", "caption": "x", "split": "train"},
        {"image": "b.png", "caption": "y", "split": "test", "category": "late"},
    )
    assert table.categories == ["", "late"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,caption\na.png,x\nnone.png,y\n", r"pairs.csv line 3: no such image file '.*none.png'"),
        ("image,caption\nnone.png,y\n", r"pairs.csv line 2: no such image file .*; --image_root sets"),
        ("image,caption\na.png,\n", "pairs.csv line 2: no caption; expected at least one caption"),
        ("image,caption\n,x\n", "pairs.csv line 2: no image; expected a path in column 'image'"),
        ("image,caption,split\na.png,x,later\n", "pairs.csv line 2: unknown split 'later'"),
        ("image,caption,split\na.png,x,train\nb.png,y,\n", "pairs.csv line 3: unknown split ''"),
        ("image,caption,label\na.png,x,\n", "pairs.csv line 2: no label"),
        (
            "image,caption,label\na.png,x,1\na.png,y,2\n",
            "line 3: image .* has label '2' here but '1' in line 2",
        ),
        (
            "image,caption,id\na.png,x,1\nb.png,y,1\n",
            "line 3: image id '1' names .*b.png' here but .*a.png' before",
        ),
        ("image,caption\n", "has no records"),
        ("", "is empty"),
        ("picture,words\na.png,x\n", "no image column; its columns are picture, words: .*--columns=image=NAME"),
        ("image,words\na.png,x\n", "no caption column; its columns are image, words: .*--columns=caption=NAME"),
    ],
)
def test_faults_are_one_sentence_with_the_line(folder, text, message):
    with pytest.raises(UserError, match=message) as caught:
        load_text(folder, text)
    assert "\n" not in str(caught.value)


def test_a_caption_that_is_no_text_is_a_fault(folder):
    with pytest.raises(UserError, match="line 1: a caption that is no text"):
        load_lines(folder, {"image": "a.png", "captions": [1]})


def test_a_named_column_that_is_not_there(folder):
    with pytest.raises(UserError, match="has no column 'alt'; its columns are image, caption"):
        load_text(folder, "image,caption\na.png,x\n", columns={"caption": "alt"})


def test_images_alone_need_no_captions(folder):
    text = "image,label,split\na.png,x,train\nb.png,y,train\nc.png,x,test\n"
    with pytest.raises(UserError, match="no caption column"):
        load_text(folder, text)
    table = load_text(folder, text, captions=False)
    assert table.captions == [(), (), ()]
    assert table.labels.tolist() == [0, 1, 0]
    assert table.split("test").read_bytes(0) == b"c.png"


REPEATED = "id,caption\na,one\nb,two\na,three\n"


@pytest.mark.parametrize("rows", [[[1, 2], [3, 4], [1, 2]], [[1, 2], [3, 4]]])
def test_vectors_in_place_of_image_files_one_a_line_or_one_an_image(folder, rows):
    np.save(folder / "v.npy", np.array(rows, np.float32))
    table = load_text(folder, REPEATED, image_features=str(folder / "v.npy"), validation_share=0.0, test_share=0.0)
    assert table.captions == [("one", "three"), ("two",)]
    assert table.image_ids == ["a", "b"]
    assert table.image_paths is None
    assert isinstance(table.features, np.memmap) == (len(rows) == 2)
    np.testing.assert_array_equal(table.features[table.image_index], [[1, 2], [3, 4]])


def test_vectors_of_an_array_in_a_file_and_those_that_do_not_fit(folder):
    np.savez(folder / "v.npz", deep=np.eye(2), wide=np.ones((4, 2)))
    table = load_text(folder, REPEATED, image_features=f"{folder / 'v.npz'}:deep")
    np.testing.assert_array_equal(table.features, np.eye(2))
    with pytest.raises(UserError, match="4 image vectors for 3 rows of 2 distinct images"):
        load_text(folder, REPEATED, image_features=f"{folder / 'v.npz'}:wide")
    np.save(folder / "differ.npy", np.eye(3))
    with pytest.raises(UserError, match=r"Row 3 .* has another image vector than row 1"):
        load_text(folder, REPEATED, image_features=str(folder / "differ.npy"))


def test_disjoint_identities_need_labels(folder):
    with pytest.raises(UserError, match="need a label column"):
        load_text(folder, "image,caption\na.png,x\n", identity_disjoint=True)


def test_without_a_table_the_flag_is_named():
    with pytest.raises(UserError, match="--table=FILE"):
        load(SourceOptions())


def test_one_column_has_one_role():
    columns = find_columns(["file", "text", "id"], SourceOptions(columns={"label": "id"}))
    assert columns == {
        "image": ["file"],
        "caption": ["text"],
        "label": ["id"],
        "id": [],
        "split": [],
        "category": [],
    }


def test_photographs_with_five_captions(shared):
    table = load(SourceOptions(table=str(shared / "data/flickr8k_subset/pairs.jsonl")))
    assert {split: len(table.split(split)) for split in table.split_names} == {
        "train": 603,
        "validation": 50,
        "test": 100,
    }
    assert {len(captions) for captions in table.captions} == {5}
    assert table.read_bytes(0).startswith(b"\xff\xd8")


def test_products_with_classes(shared):
    table = load(SourceOptions(table=str(shared / "data/fashion_products/products.csv")))
    assert len(table) == table.num_images == 4744
    assert table.label_kind == "class"
    assert table.captions[0] == ("Puma Women Solid Black Jackets",)
    assert table.categories[0] == "Topwear"


def test_persons_of_a_published_annotation_file(shared):
    path = str(shared / "data/cuhk_pedes_text/val_reid.json")
    table = load(SourceOptions(table=path, columns={"label": "id"}, check_images=False))
    assert (len(table), table.num_labels, table.label_kind) == (3078, 1000, "identity")
    assert sum(map(len, table.captions)) <= 6158


CLASSES = "image,label,split\n" + "".join(
    f"{number}.png,{label},train\n" for number, label in enumerate(["10", "9", "2", "10", "1"])
)


def test_classes_are_split_in_halves_in_order_of_their_name_on_request(folder):
    options = {"captions": False, "check_images": False, "split_rule": "classes"}
    table = load_text(folder, CLASSES, **options, validation_share=0.5)
    of_split = {name: {table.label_names[label] for label in table.split(name).labels} for name in table.split_names}
    assert of_split == {"train": {"1", "2"}, "test": {"9", "10"}}  # two classes are too few to hold any out
    assert load_text(folder, CLASSES, **options, validation_share=0.0).split_names == ["train", "test"]
    names = CLASSES.replace("10", "violet").replace("9", "rose")
    assert load_text(folder, names, **options, validation_share=0.0).split_names == ["train", "test"]


def test_a_split_of_classes_needs_them(folder):
    with pytest.raises(UserError, match="--split_rule=classes needs a label column"):
        load_text(folder, "image\na.png\n", captions=False, split_rule="classes")
    with pytest.raises(UserError, match="--split_rule=halves is not known for a table"):
        load_text(folder, CLASSES, captions=False, check_images=False, split_rule="halves")


def test_two_spellings_of_a_path_are_one_image(tmp_path):
    lines = "image,caption\nimg/../a.png,one\n./a.png,two\na.png,three\n"
    (tmp_path / "pairs.csv").write_text(lines)
    (tmp_path / "a.png").write_bytes(b"some bytes")
    table = load(SourceOptions(table=str(tmp_path / "pairs.csv")))
    assert (len(table), table.num_images) == (1, 1)
    assert table.captions == [("one", "two", "three")]
    assert table.image_ids == ["a.png"]


@pytest.mark.parametrize(
    "row", ['{"image": "a.png", "captions": ["half \\ud83d"]}', '{"image": "a\\u0000.png", "captions": ["x"]}']
)
def test_what_is_no_text_is_one_sentence_with_its_line(tmp_path, row):
    (tmp_path / "pairs.jsonl").write_text('{"image": "b.png", "captions": ["sound"]}\n' + row)
    (tmp_path / "b.png").write_bytes(b"some bytes")
    (tmp_path / "a.png").write_bytes(b"some bytes")
    with pytest.raises(UserError, match=r"pairs.jsonl line 2: .*is no text that can be written"):
        load(SourceOptions(table=str(tmp_path / "pairs.jsonl")))
