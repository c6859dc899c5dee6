import collections

import numpy as np
import pytest

from xmkeras.data.sampling import ClassSampler, PairSampler
from xmkeras.errors import UserError

COUNTS = np.array([5, 2, 1, 3, 4, 5, 5, 1])  # 26 captions
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2])


def epoch_pairs(sampler: PairSampler, epoch: int) -> list[tuple[int, int]]:
    rows, captions = sampler.epoch(epoch)
    assert rows.shape == captions.shape == (sampler.steps_per_epoch, sampler.batch_size)
    return list(zip(rows.ravel().tolist(), captions.ravel().tolist(), strict=True))


def test_an_epoch_over_pairs_has_every_pair_once():
    sampler = PairSampler(COUNTS, batch_size=2, seed=0)
    assert sampler.steps_per_epoch == 13
    wanted = {(row, caption) for row, count in enumerate(COUNTS) for caption in range(count)}
    for epoch in range(3):
        pairs = epoch_pairs(sampler, epoch)
        assert len(pairs) == 26
        assert set(pairs) == wanted
    assert epoch_pairs(sampler, 0) != epoch_pairs(sampler, 1)


def test_an_epoch_over_images_has_every_row_once_and_goes_on_through_its_captions():
    sampler = PairSampler(COUNTS, batch_size=4, seed=0, epoch_over="images")
    assert sampler.steps_per_epoch == 2
    seen = collections.defaultdict(list)
    for epoch in range(5):
        pairs = epoch_pairs(sampler, epoch)
        assert sorted(row for row, _ in pairs) == list(range(8))
        for row, caption in pairs:
            seen[row].append(caption)
    for row, captions in seen.items():
        assert set(captions) == set(range(COUNTS[row])), "five epochs show every caption"


def test_an_epoch_over_labels_has_every_label_once_with_a_random_row():
    labels = np.array([4, 4, 4, 4, 4, 7, 7, 9])
    sampler = PairSampler(COUNTS, batch_size=3, seed=0, epoch_over="labels", labels=labels)
    assert sampler.steps_per_epoch == 1
    pairs = [epoch_pairs(sampler, epoch) for epoch in range(200)]
    assert all(sorted(labels[row] for row, _ in epoch) == [4, 7, 9] for epoch in pairs)
    wanted = {(row, caption) for row, count in enumerate(COUNTS) for caption in range(count)}
    assert {pair for epoch in pairs for pair in epoch} == wanted
    with pytest.raises(ValueError, match="label of each of the 8 rows"):
        PairSampler(COUNTS, batch_size=3, seed=0, epoch_over="labels")


@pytest.mark.parametrize("epoch_over", ["pairs", "images", "labels"])
def test_captions_of_an_image_lie_side_by_side(epoch_over):
    sampler = PairSampler(
        COUNTS, batch_size=4, seed=3, epoch_over=epoch_over, captions_per_image=2, labels=np.arange(8)
    )
    for epoch in range(3):
        pairs = epoch_pairs(sampler, epoch)
        for (first_row, first), (second_row, second) in zip(pairs[::2], pairs[1::2], strict=True):
            assert first_row == second_row
            assert (first != second) == (COUNTS[first_row] > 1)


def test_groups_over_pairs_cover_every_caption_and_repeat_as_few_as_possible():
    sampler = PairSampler(COUNTS, batch_size=2, seed=3, captions_per_image=2)
    assert sampler.steps_per_epoch == sum(-(-count // 2) for count in COUNTS)
    found = collections.Counter(epoch_pairs(sampler, 0))
    for row, count in enumerate(COUNTS):
        uses = [found[row, caption] for caption in range(count)]
        assert min(uses) >= 1
        assert sum(uses) == count + count % 2


@pytest.mark.parametrize("make", [
    lambda seed: PairSampler(COUNTS, batch_size=3, seed=seed, captions_per_image=3),
    lambda seed: ClassSampler(COUNTS, LABELS, batch_size=4, images_per_class=2, seed=seed),
])  # fmt: skip
def test_an_epoch_is_a_function_of_seed_and_number(make):
    forward, backward = make(7), make(7)
    there = {epoch: forward.epoch(epoch) for epoch in range(6)}
    back = {epoch: backward.epoch(epoch) for epoch in reversed(range(6))}
    for epoch in range(6):
        np.testing.assert_array_equal(there[epoch], back[epoch])
    assert any((there[epoch][0] != make(8).epoch(epoch)[0]).any() for epoch in range(6))
    there[0][0][:] = -1
    np.testing.assert_array_equal(forward.epoch(0), back[0])


def test_the_remainder_is_dropped_and_differs_from_epoch_to_epoch():
    sampler = PairSampler(COUNTS, batch_size=10, seed=0)
    assert sampler.steps_per_epoch == 2
    assert set(epoch_pairs(sampler, 0)) != set(epoch_pairs(sampler, 1))


def test_replacement_is_the_next_good_row():
    sampler = PairSampler(COUNTS, batch_size=4, seed=0)
    assert sampler.replacement(3, [3]) == 4
    assert sampler.replacement(3, [3, 4, 6]) == 5
    assert sampler.replacement(7, [7, 0]) == 1
    with pytest.raises(UserError, match="Every row"):
        sampler.replacement(0, range(8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 27}, "26 pairs, fewer than the batch size 27"),
        ({"batch_size": 9, "epoch_over": "images"}, "8 pairs, fewer"),
        ({"batch_size": 6, "captions_per_image": 4}, "not a multiple of 4"),
        ({"batch_size": 0}, "batch size 0"),
        ({"batch_size": 4, "epoch_over": "words"}, "over pairs, images, labels, balanced, not over"),
    ],
)
def test_impossible_wishes_are_explained(options, message):
    with pytest.raises(UserError, match=message):
        PairSampler(COUNTS, seed=0, **options)


def test_a_balanced_epoch_holds_every_label_equally_often_and_its_rows_in_turn():
    labels = np.array([0] * 12 + [1] * 3)
    sampler = PairSampler(np.ones(15, int), batch_size=5, seed=2, epoch_over="balanced", labels=labels)
    assert sampler.steps_per_epoch == 3
    rows = sampler.epoch(0)[0].ravel()
    counts = np.bincount(labels[rows], minlength=2)
    assert sorted(counts.tolist()) == [7, 8]
    of_small = np.bincount(rows[labels[rows] == 1], minlength=15)[12:]
    assert of_small.max() - of_small.min() <= 1
    assert np.bincount(rows[labels[rows] == 0]).max() == 1


def test_batches_of_classes_hold_so_many_images_of_each():
    labels = np.arange(60) % 7
    sampler = ClassSampler(np.ones(60, int), labels, batch_size=12, images_per_class=3, seed=1)
    assert sampler.steps_per_epoch == 5
    uses = np.zeros(60, int)
    for epoch in range(20):
        for rows in sampler.epoch(epoch)[0]:
            of = labels[rows].reshape(4, 3)
            assert (of == of[:, :1]).all()
            assert len(set(of[:, 0])) == 4
            assert all(len(set(one)) == 3 for one in rows.reshape(4, 3))
            uses[rows] += 1
    by_class = np.bincount(labels, uses)
    assert by_class.max() - by_class.min() < 0.35 * by_class.mean()


def test_one_pair_of_each_class_and_classes_of_too_few_images():
    one = ClassSampler(COUNTS, LABELS, batch_size=3, images_per_class=1, seed=0)
    for rows, captions in zip(*one.epoch(3), strict=True):
        assert sorted(LABELS[rows]) == [0, 1, 2]
        assert (captions < COUNTS[rows]).all()
    few = ClassSampler(COUNTS, LABELS, batch_size=6, images_per_class=3, seed=0)
    rows = few.epoch(0)[0].reshape(-1, 3)
    assert {tuple(sorted(set(one))) for one in rows if LABELS[one[0]] == 2} <= {(6, 7)}


def test_a_class_replaces_its_own_broken_images():
    sampler = ClassSampler(COUNTS, LABELS, batch_size=4, images_per_class=2, seed=0)
    assert sampler.replacement(4, [4]) == 5
    assert sampler.replacement(5, [5]) == 3
    assert sampler.replacement(6, [6, 7]) == 0
    assert sampler.replacement(2, [0, 1, 2]) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 8, "images_per_class": 2}, "needs 4 classes, and the training split has 3"),
        ({"batch_size": 5, "images_per_class": 2}, "not a multiple of 2 images per class"),
        ({"batch_size": 9, "images_per_class": 3}, "8 images, fewer than the batch size 9"),
    ],
)
def test_impossible_classes_are_explained(options, message):
    with pytest.raises(UserError, match=message):
        ClassSampler(COUNTS, LABELS, seed=0, **options)
