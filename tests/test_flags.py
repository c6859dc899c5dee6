"""Flags: two passes, nested flagfiles, and mistakes answered with one sentence."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from tests.conftest import ROOT
from tests.test_imports import imported_names
from xmkeras import flags, methods
from xmkeras.config import Config, TrainConfig, option
from xmkeras.errors import UserError


@dataclasses.dataclass(frozen=True)
class _Options:
    top_k: int = option(10, "results")


def test_defaults_are_those_of_the_dataclasses():
    command = flags.parse([])
    assert command.config.train == TrainConfig()
    assert command.config.method == "cmpm"
    assert command.given == frozenset()


def test_types_lists_and_method_flags():
    argv = [
        "--batch_size=8", "--noresume", "--learning_rate", "1e-4", "--group=a.* lr=2x", "--group=b.* frozen",
        "--cmpm.epsilon=1e-6", "--cmpm.classifier=cmpc", "--top_k=3",
    ]  # fmt: skip
    command = flags.parse(argv, _Options)
    assert command.config.train.batch_size == 8
    assert command.config.train.resume is False
    assert command.config.train.learning_rate == 1e-4
    assert command.config.train.group == ("a.* lr=2x", "b.* frozen")
    assert command.config.method_params["epsilon"] == 1e-6
    assert command.config.method_params["classifier"] == "cmpc"
    assert command.options == _Options(top_k=3)
    assert {"batch_size", "cmpm.epsilon", "top_k"} <= command.given


def test_nested_flagfiles_resolve_beside_the_including_file_and_later_values_win(tmp_path: pathlib.Path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "data.cfg").write_text("# a comment\n\n--batch_size=4\n--steps=7\n--method=cmpm\n")
    (tmp_path / "run.cfg").write_text("--flagfile=parts/data.cfg\n--steps=9\n--cmpm.epsilon=0.5\n")
    config = flags.parse([f"--flagfile={tmp_path / 'run.cfg'}", "--batch_size=5"]).config
    assert (config.train.steps, config.train.batch_size, config.method_params["epsilon"]) == (9, 5, 0.5)


def test_none_takes_back_what_an_included_flagfile_repeats(tmp_path: pathlib.Path):
    (tmp_path / "run.cfg").write_text("--stage=epochs=1\n--stage=epochs=2\n")
    argv = [f"--flagfile={tmp_path / 'run.cfg'}", "--stage=none", "--stage=steps=3"]
    assert flags.parse(argv).config.train.stage == ("steps=3",)


def test_a_written_flagfile_repeats_the_config(tmp_path: pathlib.Path):
    config = flags.parse(["--group=a.* lr=2x", "--noresume", "--ema=0.9", "--augment=flip,crop"]).config
    path = tmp_path / "flags.cfg"
    path.write_text(config.to_flagfile())
    assert flags.parse([f"--flagfile={path}"]).config == config


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--batch_sise=3"], ["--batch_sise", "the command line", "--batch_size"]),
        (["--method=nothing"], ["nothing", "cmpm"]),
        (["--batch_size=many"], ["batch_size", "many"]),
        (["--image_tower=vgg"], ["image_tower", "mobilenet"]),
        (["--flagfile=nowhere.cfg"], ["nowhere.cfg", "flags/cmpm_flowers.cfg"]),
        (["stray"], ["stray"]),
        (["--cmpm.epsilon=-1"], ["epsilon"]),
    ],
)
def test_mistakes_are_one_sentence(argv: list[str], words: list[str]):
    def parse_all() -> None:
        config = flags.parse(argv).config
        methods.load(config.method).Params(**config.method_params)

    with pytest.raises(UserError) as error:
        parse_all()
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_bad_line_of_a_flagfile_is_named(tmp_path: pathlib.Path):
    path = tmp_path / "x.cfg"
    path.write_text("--steps=3\n--stepz=4\n")
    with pytest.raises(UserError, match=r"x\.cfg, line 2"):
        flags.parse([f"--flagfile={path}"])
    path.write_text("steps=3\n")
    with pytest.raises(UserError, match="line 1"):
        flags.parse([f"--flagfile={path}"])
    path.write_text("--flagfile=x.cfg\n")
    with pytest.raises(UserError, match="includes itself"):
        flags.parse([f"--flagfile={path}"])


def test_main_guard_turns_a_user_error_into_status_two(capsys: pytest.CaptureFixture[str]):
    def main(argv):
        raise UserError("There is no image x.png; put it there.")

    assert flags.main_guard(main, []) == 2
    assert capsys.readouterr().err == "xmkeras: There is no image x.png; put it there.\n"


@pytest.mark.parametrize("module", ["flags", "config", "flagfiles", "help", "old_flags"])
def test_what_parses_flags_knows_nothing_of_runs(module: str):
    source = (ROOT / "xmkeras" / f"{module}.py").read_text()
    assert not [name for name in imported_names(source, f"xmkeras.{module}") if name.startswith("xmkeras.run")]


def test_a_field_of_a_type_that_no_flag_has_is_named():
    @dataclasses.dataclass(frozen=True)
    class Options:
        table: dict = dataclasses.field(default=None)

    with pytest.raises(UserError, match=r"--table cannot be a flag: .*dict.*; declare .* str, int, float, bool"):
        flags.parse_options([], Options)


def test_types_may_be_written_as_they_are():
    options = dataclasses.make_dataclass("Options", [("top", int, 3), ("on", bool, False), ("of", tuple[str, ...], ())])
    assert flags.parse_options(["--top=4", "--on", "--of=a"], options) == options(4, True, ("a",))


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["--flagfile", "{}/a.cfg"], "a"),
        (["--flagfile={}/a.cfg"], "a"),
        (["--flagfile={}/a.cfg", "--steps=1", "--flagfile", "{}/b.cfg"], "b"),
        (["--flagfile={}/c.cfg"], "c"),
        (["--method=timam"], "timam"),
        ([], "cmpm"),
    ],
)
def test_a_run_is_called_after_the_last_flagfile_of_the_command_line(tmp_path: pathlib.Path, argv, name):
    (tmp_path / "a.cfg").write_text("--steps=3\n")
    (tmp_path / "b.cfg").write_text("--steps=4\n")
    (tmp_path / "c.cfg").write_text("--flagfile=a.cfg\n")
    assert flags.parse([word.format(tmp_path) for word in argv]).name == name


def test_flags_of_a_run_are_the_defaults_of_later_commands():
    config = flags.parse(["--batch_size=3", "--cmpm.epsilon=0.5", "--protocol=folds"]).config
    asked = []

    def config_of(path: str) -> Config:
        asked.append(path)
        return config

    command = flags.parse_for_run(["--run=runs/x", "--table=other.csv", "--top_k=3"], config_of, _Options)
    assert asked == ["runs/x"]
    assert command.config.train.batch_size == 3
    assert command.config.method_params["epsilon"] == 0.5
    assert (command.config.data.table, command.config.data.protocol) == ("other.csv", "folds")
    assert command.options == _Options(3)
    with pytest.raises(UserError, match="Which run"):
        flags.parse_for_run([], config_of)


@pytest.mark.parametrize("flag", ["--embedding_dim=7", "--image_size=96", "--max_tokens=9", "--pooling=mean"])
def test_what_decides_a_trained_model_cannot_change_afterwards(flag: str):
    with pytest.raises(UserError, match=f"{flag.partition('=')[0]} belongs to training and runs/x is trained"):
        flags.parse_for_run(["--run=runs/x", flag], lambda path: Config())


def test_ctrl_c_anywhere_is_one_sentence(capsys: pytest.CaptureFixture[str]):
    def main(argv):
        raise KeyboardInterrupt

    assert flags.main_guard(main, []) == 130
    assert capsys.readouterr().err == "xmkeras: interrupted; what was saved until now is kept.\n"
