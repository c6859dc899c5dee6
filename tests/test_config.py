"""The config's dataclasses: flags of one level, and back."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.conftest import ROOT
from xmkeras import flags
from xmkeras.config import (
    BERT,
    IMAGE_VECTORS,
    PICTURES,
    TEXT_VECTORS,
    WORDS,
    Config,
    DataConfig,
    ModelConfig,
    TrainConfig,
    fields,
    not_taken,
    option,
    refuse_not_taken,
)
from xmkeras.errors import UserError


def test_flags_and_back_through_json():
    config = Config(
        DataConfig(source="table", columns="image=path,caption=title", min_count=1),
        ModelConfig(image_width=0.5),
        TrainConfig(stage=("epochs=1", "epochs=2"), steps=3),
        "cmpm",
        {"epsilon": 1e-6},
    )
    values = json.loads(json.dumps(config.as_flags()))
    assert values["cmpm.epsilon"] == 1e-6
    assert Config.from_flags(values) == config


def test_names_are_unique_and_each_field_has_help():
    names: set[str] = set()
    for part in (DataConfig, ModelConfig, TrainConfig):
        for field in dataclasses.fields(part):
            assert field.name not in names
            assert field.metadata["help"]
            assert field.metadata["topic"]
            assert set(field.metadata["of"]) <= {PICTURES, REGIONS, IMAGE_VECTORS, WORDS, BERT, TEXT_VECTORS}
            names.add(field.name)
    assert names == set(fields())


def test_what_decides_the_encoders_is_of_the_model():
    model = {field.name for field in dataclasses.fields(ModelConfig)}
    assert {"image_size", "max_tokens"} <= model


@dataclasses.dataclass(frozen=True)
class _Params:
    epsilon: float = option(1e-8, "a number")
    classifier: str = option("none", "a choice")


def test_a_config_of_an_earlier_version_is_completed_by_defaults():
    written = {"method": "cmpm", "batch_size": 8, "stage": ["epochs=1"], "cmpm.epsilon": 0.5}
    config = Config.from_flags(written)
    assert config.data == DataConfig()
    assert config.train == TrainConfig(batch_size=8, stage=("epochs=1",))
    assert config.completed(_Params).method_params == {"epsilon": 0.5, "classifier": "none"}
    assert config.completed(_Params).completed(_Params) == config.completed(_Params)


def test_a_flagfile_has_a_line_for_each_value():
    config = Config(train=TrainConfig(stage=("epochs=1 lr=1", "epochs=2"), resume=False), method_params={"a": 2})
    lines = config.to_flagfile().splitlines()
    assert [line for line in lines if line.startswith("--stage")] == ["--stage=epochs=1 lr=1", "--stage=epochs=2"]
    assert {"--resume=false", "--cmpm.a=2", "--table="} <= set(lines)
    assert not [line for line in lines if line.startswith("--group")]


@pytest.mark.parametrize(
    ("kinds", "refused"),
    [
        ((PICTURES, WORDS), ["image_hidden", "bert_dropout"]),
        ((PICTURES, BERT), ["min_count", "image_hidden"]),
        ((IMAGE_VECTORS, WORDS), ["augment", "bert_dropout"]),
        ((IMAGE_VECTORS, TEXT_VECTORS), ["augment", "min_count", "max_tokens", "bert_dropout"]),
        ((PICTURES,), ["min_count", "max_tokens", "image_hidden", "bert_dropout"]),
    ],
)
def test_a_flag_of_other_inputs_is_refused(kinds, refused):
    config = Config(
        DataConfig(min_count=1, augment="flip"),
        ModelConfig(image_hidden="16", max_tokens=9, bert_dropout=0.0, embedding_dim=4),
    )
    assert sorted(not_taken(config, kinds)) == sorted(refused)
    with pytest.raises(UserError) as error:
        refuse_not_taken(dataclasses.replace(config, typed=frozenset(fields())), kinds)
    assert f"this run has {' and '.join(kinds)}; leave it away" in str(error.value)


def test_the_refusal_names_the_value_and_what_the_flag_is_for():
    config = Config(model=ModelConfig(image_hidden="16"))
    typed = dataclasses.replace(config, typed=frozenset({"image_hidden"}))
    with pytest.raises(UserError, match="--image_hidden=16 is for image vectors, and this run has pictures and words"):
        refuse_not_taken(typed, (PICTURES, WORDS))
    refuse_not_taken(typed, (IMAGE_VECTORS, WORDS))
    refuse_not_taken(config, (PICTURES, WORDS))  # as a flagfile may have it


@pytest.mark.parametrize("path", sorted((ROOT / "flags").glob("*.cfg")), ids=lambda path: path.stem)
def test_a_shipped_flagfile_sets_nothing_that_its_run_does_not_take(path):
    config = flags.parse([f"--flagfile={path}"]).config
    texts = {"bert": BERT, "bilstm": WORDS}[config.model.text_tower]
    kinds = (IMAGE_VECTORS, TEXT_VECTORS) if config.data.source == "wikipedia" else (PICTURES, texts)
    assert not_taken(config, kinds) == []


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().method = "other"
