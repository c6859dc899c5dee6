"""Tests of xmkeras/old_flags.py: what runs of version 0.1 wrote is read as today's flags."""

from __future__ import annotations

import json
import pathlib

import pytest

from xmkeras import flags
from xmkeras.config import Config, TrainConfig
from xmkeras.errors import UserError
from xmkeras.methods.cmpm import Cmpm
from xmkeras.run.directory import RunDirectory

# Every flag that version 0.1 listed and this one has not, at its default.
DEFAULTS = {
    "image_column": "", "caption_column": "", "text_column": "", "label_column": "", "id_column": "",
    "split_column": "", "category_column": "", "pack": False, "zero_pad_compat": False, "word_scale": 0.0,
}  # fmt: skip


def flagfile(folder: pathlib.Path, values: dict[str, object]) -> str:
    """A flags.cfg as version 0.1 wrote it."""
    lines = [f"--{name}={str(value).lower() if isinstance(value, bool) else value}\n" for name, value in values.items()]
    (folder / "flags.cfg").write_text("".join(lines))
    return f"--flagfile={folder / 'flags.cfg'}"


def both(folder: pathlib.Path, values: dict[str, object]) -> Config:
    """The config of a config.json and of a flags.cfg of these values, which is the same."""
    read = Config.from_flags({"method": "cmpm", **values})
    parsed = flags.parse([flagfile(folder, values)]).config
    assert (read.data, read.model, read.train) == (parsed.data, parsed.model, parsed.train)
    return read


def test_flags_at_their_old_defaults_vanish(tmp_path: pathlib.Path):
    assert both(tmp_path, DEFAULTS) == Config()


def test_columns_become_one_flag(tmp_path: pathlib.Path):
    config = both(tmp_path, {**DEFAULTS, "image_column": "path", "caption_column": "title, alt", "id_column": "key"})
    assert config.data.columns == "image=path,caption=title,caption=alt,id=key"


@pytest.mark.parametrize(("pooling", "now"), [("max", "max_padded"), ("mean", "mean"), ("max_mean", "max_padded_mean")])
def test_padding_in_the_maximum_is_a_pooling(tmp_path: pathlib.Path, pooling: str, now: str):
    assert both(tmp_path, {**DEFAULTS, "zero_pad_compat": True, "pooling": pooling}).model.pooling == now
    assert both(tmp_path, {"pooling": pooling, **DEFAULTS}).model.pooling == pooling


def test_packing_never_changed_a_result(tmp_path: pathlib.Path):
    assert both(tmp_path, {**DEFAULTS, "pack": True}) == Config()


def test_first_weights_of_words_are_those_of_the_checkpoint_and_no_choice_any_more(tmp_path: pathlib.Path):
    assert both(tmp_path, {**DEFAULTS, "word_scale": 0.1}) == Config()
    with pytest.raises(UserError, match=r"--word_scale is of an earlier version .*; leave it away"):
        flags.parse(["--word_scale=0.1"])


def test_a_command_line_still_takes_them_and_new_flags_win(tmp_path: pathlib.Path):
    old = flagfile(tmp_path, {**DEFAULTS, "caption_column": "title", "label_column": "kind", "zero_pad_compat": True})
    assert flags.parse([old, "--columns=caption=alt"]).config.data.columns == "label=kind,caption=alt"
    assert flags.parse([old, "--caption_column="]).config.data.columns == "label=kind"
    assert flags.parse([old, "--pooling=mean"]).config.model.pooling == "mean"
    assert flags.parse([old, "--nozero_pad_compat"]).config.model.pooling == "max"
    config = flags.parse(["--zero_pad_compat", "--image_column", "path", "--pack", "--steps=3"]).config
    assert (config.model.pooling, config.data.columns, config.train.steps) == ("max_padded", "image=path", 3)


def test_what_was_below_a_bound_reads_as_the_bound(tmp_path: pathlib.Path):
    config = Config(train=TrainConfig(steps=3)).completed(Cmpm.Params)
    values = config.as_flags() | {"limit": -1, "log_every": -1, "plateau_patience": 0}
    (tmp_path / "config.json").write_text(json.dumps(values))
    read = RunDirectory(tmp_path).config()
    assert (read.data.limit, read.train.log_every, read.train.plateau_patience, read.train.steps) == (0, 1, 1, 3)
    with pytest.raises(UserError, match="--limit=-1"):
        flags.parse(["--limit=-1"])
