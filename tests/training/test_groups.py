"""Texts that describe optimizer groups and stages."""

from __future__ import annotations

import pytest

from xmkeras.errors import UserError
from xmkeras.training.groups import Group, Stage, check_patterns, parse_group, parse_stage


def test_a_group_reads_every_setting() -> None:
    text = r"text_encoder/word_\w+/.* optimizer=sgd lr=0.1x weight_decay=0 momentum=0.5"
    assert parse_group(text) == Group(
        r"text_encoder/word_\w+/.*", optimizer="sgd", multiple=0.1, weight_decay=0.0, momentum=0.5
    )
    assert parse_group("heads/.* lr=2e-4") == Group("heads/.*", learning_rate=2e-4)


@pytest.mark.parametrize("text", ["image_backbone/.* frozen", "image_backbone/.* frozen=true"])
def test_a_group_may_be_frozen(text: str) -> None:
    assert parse_group(text) == Group("image_backbone/.*", frozen=True)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "must begin with a pattern"),
        ("lr=0.1", "must begin with a pattern"),
        ("a(/.* lr=0.1", "regular expression"),
        ("a/.* optimizer=lion", "adam, adamw, sgd"),
        ("a/.* lr=fast", "lr=fast"),
        ("a/.* lr=-1x", "not a number in its range"),
        ("a/.* lr=nan", "not a number in its range"),
        ("a/.* momentum=1.5", "momentum=1.5"),
        ("a/.* rate=0.1", "rate=0.1"),
        ("a/.* lr=1 lr=2", "once"),
        ("a/.* lr", "key=value"),
    ],
)
def test_a_bad_group_is_explained(text: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        parse_group(text)


def test_a_stage_reads_every_setting() -> None:
    stage = parse_stage(
        "epochs=15 lr=2e-4 frozen=image_backbone/.* frozen=heads/.* schedule=cosine warmup_steps=9"
    )
    assert stage == Stage(
        "stage 1",
        epochs=15,
        learning_rate=2e-4,
        schedule="cosine",
        warmup_steps=9,
        frozen=("image_backbone/.*", "heads/.*"),
    )
    assert parse_stage("steps=100 name=warm", 2) == Stage("warm", steps=100)
    assert parse_stage("steps=100", 2).name == "stage 2"


def test_the_frozen_variables_of_a_stage_come_before_the_groups() -> None:
    group = Group(".*", multiple=10.0)
    assert parse_stage("steps=1 frozen=a/.*").groups([group]) == (Group("a/.*", frozen=True), group)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "how long"),
        ("lr=1e-3", "how long"),
        ("epochs=1 steps=1", "how long"),
        ("epochs=many", "epochs=many"),
        ("epochs=1 frozen=(", "regular expression"),
        ("epochs=1 colour=red", "colour=red"),
    ],
)
def test_a_bad_stage_is_explained(text: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        parse_stage(text)


def test_a_pattern_that_matches_nothing_is_named_with_real_names() -> None:
    names = [f"text_encoder/layer_{i}/kernel" for i in range(20)]
    check_patterns(["text_encoder/.*"], names)
    with pytest.raises(UserError, match=r"'text_encoder' matches no variable.*text_encoder/layer_0/kernel"):
        check_patterns(["text_encoder"], names)
