import json
import pathlib
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.python.framework import op_def_registry

from tests.data.toy_pictures import BROKEN, COUNT, EVERYTHING, SIZE, TOKENIZER, Batch, assert_equal, encoded, rows, take
from xmkeras.data import batches, images, readers
from xmkeras.data.rows import RowTable
from xmkeras.data.sampling import PairSampler
from xmkeras.errors import UserError


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> RowTable:
    """Twenty pictures in files, two of them broken."""
    return RowTable.from_rows("toy", rows(tmp_path_factory.mktemp("pictures")), label_kind="class")


def make(
    table: RowTable,
    *,
    captions_per_image: int = 1,
    augmentation: images.Augmentation = EVERYTHING,
    seed: int = 5,
    image: readers.Reader | None = None,
    tokenize: Any = TOKENIZER,
    **options: Any,
) -> batches.TrainingBatches:
    counts = np.array([len(captions) for captions in table.captions])
    sampler = PairSampler(counts, batch_size=6, seed=5, captions_per_image=captions_per_image)
    sides = {
        "image": image or readers.Pictures(table, SIZE, augmentation, seed),
        "text": readers.Sentences(table, tokenize),
    }
    return batches.TrainingBatches(table, sampler, sides, **{"on_bad_row": lambda _: None, **options})


@pytest.fixture(scope="module")
def whole(table) -> tuple[list[Batch], list[int]]:
    """Fifteen batches from the first step, and the broken rows found on the way."""
    made = make(table)
    return take(made.iterate(0), 15), made.bad_rows


def test_what_a_batch_holds(table, whole):
    batch = whole[0][0]
    assert {name: (value.dtype.name, value.shape) for name, value in batch.items()} == {
        "image": ("float32", (6, *SIZE, 3)),
        "text": ("int32", (6, 8)),
        "label": ("int64", (6,)),
        "image_id": ("int64", (6,)),
        "row": ("int64", (6,)),
    }
    np.testing.assert_array_equal(batch["label"], table.labels[batch["row"]])
    np.testing.assert_array_equal(batch["image_id"], table.image_index[batch["row"]])
    assert 0 <= batch["image"].min() < 60
    assert 200 < batch["image"].max() <= 255


def test_static_shapes(table):
    spec = make(table).dataset(0).element_spec
    assert spec["image"].shape == (6, *SIZE, 3)
    assert spec["text"].shape.as_list() == [6, None]
    assert spec["label"].shape == (6,)


def test_image_and_text_belong_together(table):
    made = make(table, augmentation=images.Augmentation())
    for batch in take(made.iterate(0), 5):
        for row, image, text in zip(batch["row"], batch["image"], batch["text"], strict=True):
            np.testing.assert_array_equal(image, images.load(tf.constant(encoded(int(row))), SIZE))
            assert text[:3].tolist() in TOKENIZER(list(table.captions[row])).numpy()[:, :3].tolist()


def test_broken_rows_are_left_out_named_and_remembered(table, whole):
    messages: list[str] = []
    made = make(table, on_bad_row=messages.append)
    assert_equal(take(made.iterate(0), 15), whole[0])
    assert made.bad_rows == sorted(BROKEN)
    assert len(messages) == 2
    for row in BROKEN:
        (message,) = [message for message in messages if f"{row:02}.img" in message]
        assert "Invalid" in message
        assert "{{" not in message
    used = np.concatenate([batch["row"] for batch in whole[0]])
    assert not set(BROKEN) & set(used)
    assert set(range(COUNT)) - set(BROKEN) == set(used)


@pytest.mark.parametrize("step", [1, 7, 14])
def test_a_run_goes_on_anywhere_with_the_same_batches(table, whole, step):
    made = make(table)
    made.bad_rows = list(whole[1])
    assert_equal(take(made.iterate(step), 15 - step), whole[0][step:])


def test_batches_do_not_depend_on_when_a_broken_row_was_found(table, whole):
    knowing = make(table)
    knowing.bad_rows = list(BROKEN)
    assert_equal(take(knowing.iterate(0), 15), whole[0])
    ignorant = make(table)
    assert_equal(take(ignorant.iterate(9), 6), whole[0][9:])


def test_the_dataset_starts_at_any_step(table):
    made = make(table)
    made.bad_rows = list(BROKEN)
    assert_equal(take(made.dataset(4), 5), take(made.dataset(0).skip(4), 5))


def test_the_seed_decides(table):
    knowing, other = make(table), make(table, seed=6)
    knowing.bad_rows = other.bad_rows = list(BROKEN)
    one, two = take(knowing.dataset(0), 1)[0], take(other.dataset(0), 1)[0]
    np.testing.assert_array_equal(one["row"], two["row"])
    assert (one["image"] != two["image"]).any()


def test_the_same_row_is_varied_anew_each_time(whole):
    views = {batch["image"][batch["row"] == 3].tobytes() for batch in whole[0] if (batch["row"] == 3).any()}
    assert len(views) > 1


def test_too_many_broken_rows_stop_the_run(table):
    made = make(table, max_bad_rows=1)
    with pytest.raises(UserError, match=r"2 training images are broken.*max_bad_rows=1.*06\.img, .*07\.img"):
        take(made.iterate(0), 15)


def test_a_file_that_vanished_is_a_broken_row(tmp_path):
    table = RowTable.from_rows("toy", rows(tmp_path), label_kind="class")
    (tmp_path / "11.img").unlink()
    messages: list[str] = []
    made = make(table, on_bad_row=messages.append)
    take(made.iterate(0), 10)
    assert made.bad_rows == [6, 7, 11]
    assert any("11.img" in message and "No such file" in message for message in messages)


def test_an_error_that_no_row_explains_is_raised(table):
    def tokenize(texts: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.Assert(False, ["broken tokenizer"])]):
            return TOKENIZER(texts)

    made = make(table, tokenize=tokenize)
    made.bad_rows = list(BROKEN)
    with pytest.raises(tf.errors.InvalidArgumentError, match="broken tokenizer"):
        next(made.iterate(0))


def test_images_in_memory(table, whole):
    in_memory = RowTable.from_rows("toy", rows(None), label_kind="class")
    made = make(in_memory)
    assert_equal(take(made.iterate(0), 15), whole[0])
    assert made.bad_rows == sorted(BROKEN)


def test_several_captions_of_an_image_in_a_batch(table):
    made = make(table, captions_per_image=2)
    for batch in take(made.iterate(0), 6):
        pairs = batch["row"].reshape(3, 2)
        np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])
        for (row, _), (one, other) in zip(pairs, batch["text"].reshape(3, 2, -1), strict=True):
            assert (one != other).any() == (len(table.captions[row]) > 1)


def test_features_instead_of_images(table):
    features = np.arange(COUNT * 3, dtype=np.float32).reshape(COUNT, 3)
    features[6] = np.nan
    messages: list[str] = []
    cached = readers.Vectors("image_features", features, readers.Items.images(table))
    made = make(table, image=cached, on_bad_row=messages.append)
    batch = take(made.iterate(0), 15)[-1]
    assert made.bad_rows == [6]
    assert "06.img" in messages[0]
    np.testing.assert_array_equal(batch["image_features"], features[batch["row"]])
    assert batch["image_features"].dtype == np.float32
    assert "image" not in batch
    assert made.dataset(0).element_spec["image_features"].shape == (6, 3)


def test_each_view_of_the_features_is_seen(table):
    features = np.stack([np.zeros((COUNT, 4)), np.ones((COUNT, 4))], axis=1)
    cached = readers.Vectors("image_features", features, readers.Items.images(table), views=2, seed=5)
    seen = take(make(table, image=cached).iterate(0), 20)
    shares = np.concatenate([batch["image_features"][:, 0] for batch in seen])
    assert 0.3 < shares.mean() < 0.7
    assert_equal(take(make(table, image=cached).iterate(11), 9), seen[11:])


@pytest.mark.parametrize("in_files", [True, False])
def test_no_op_makes_the_pipeline_serial_under_op_determinism(table, in_files):
    """`enable_op_determinism` turns off all parallelism if any function of a pipeline has a stateful op."""
    source = table if in_files else RowTable.from_rows("toy", rows(None), label_kind="class")
    graph = graph_pb2.GraphDef.FromString(make(source).dataset(0)._as_serialized_graph().numpy())
    nodes = [node for function in graph.library.function for node in function.node_def]
    definitions = ((node.op, op_def_registry.get(node.op)) for node in nodes)
    stateful = {name for name, definition in definitions if definition is not None and definition.is_stateful}
    assert stateful <= {"Assert", "If", "While", "StatefulPartitionedCall"}


def test_replicas_share_the_batches_of_one_device(tmp_path):
    """Two replicas get the halves of each batch, broken rows skipped; in a process of its own, for its devices."""
    rows(tmp_path)
    program = f"""
    import json, sys
    import numpy as np, tensorflow as tf
    device = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [device, device])
    from tests.data import test_batches as shared
    from xmkeras.data.rows import RowTable
    import pathlib
    table = RowTable.from_rows("toy", shared.rows(pathlib.Path({str(tmp_path)!r})), label_kind="class")
    alone = shared.take(shared.make(table).iterate(0), 8)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    made = shared.make(table)
    split = made.iterate(0, strategy.experimental_distribute_dataset)
    equal = []
    for batch in alone:
        parts = {{name: strategy.experimental_local_results(value) for name, value in next(split).items()}}
        equal += [all(np.array_equal(np.concatenate(parts[name]), batch[name]) for name in batch)]
        equal += [[len(part) for part in parts["row"]] == [3, 3]]
    print(json.dumps([all(equal), made.bad_rows]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [True, sorted(BROKEN)]


def test_pipelines_end_before_the_interpreter_does(table):
    made = make(table)
    running = made.iterate(0)
    next(running)
    batches._stop_pipelines()
    with pytest.raises(StopIteration):
        next(running)
