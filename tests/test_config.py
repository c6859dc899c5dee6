"""The config's dataclasses: flags of one level, and back."""

from __future__ import annotations

import dataclasses
import json

import pytest

from xmkeras.config import Config, DataConfig, ModelConfig, TrainConfig


def test_flags_and_back_through_json():
    config = Config(
        DataConfig(source="table", min_count=1),
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
            names.add(field.name)


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().method = "other"
