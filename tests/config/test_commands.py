import json
import shlex
from pathlib import Path

import pytest

from noisereg.config.command_line import check_command_line, complete_arguments
from noisereg.config.commands import program_name, recorded_overrides, split_options
from noisereg.config.composing import compose_settings
from noisereg.errors import ConfigError

ROOT = Path(__file__).parents[2]


def write_record(folder, command):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps({"status": "running", "command": command}))


@pytest.mark.parametrize(
    ("line", "options", "overrides"),
    [
        ("a=1 b=2", [], ["a=1", "b=2"]),
        ("--config-dir conf resume=x trust=[m]", ["--config-dir", "conf"], ["resume=x", "trust=[m]"]),
        ("a=1 --config-dir conf b=2 -m c=3", ["--config-dir", "conf", "-m"], ["a=1", "b=2", "c=3"]),
        ("--config-dir=a=1 a=1 ~b", ["--config-dir=a=1"], ["a=1", "~b"]),
        ("--config-dir a=1 a=1", ["--config-dir", "a=1"], ["a=1"]),
        ("a=1 a=1 --cfg job a=1", ["--cfg", "job"], ["a=1", "a=1", "a=1"]),
        ("--help", ["--help"], []),
    ],
)
def test_options_and_overrides_come_in_any_order(line, options, overrides):
    assert split_options(line.split()) == (options, overrides)


def test_an_option_that_there_is_none_of_stays_for_the_parser_to_refuse():
    assert split_options(["seed=1", "--nothing", "a=1"]) == (["--nothing"], ["seed=1", "a=1"])


def test_the_program_is_named_by_what_is_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert program_name() == "python train.py"
    monkeypatch.chdir(tmp_path)
    assert program_name() == "noisereg-train"
    (tmp_path / "train.py").write_text("print('of another project')")
    assert program_name() == "noisereg-train"


@pytest.mark.parametrize(
    "command",
    [
        "python train.py seed=3 'noise.p=[0,0.1]'",
        "noisereg-train seed=3 'noise.p=[0,0.1]'",
        "noisereg-train --config-dir /x/conf seed=3 'noise.p=[0,0.1]' 'trust=[mine]'",
        "python train.py seed=3 'noise.p=[0,0.1]' hydra.run.dir=single",
    ],
)
def test_the_command_in_a_record_is_read_without_what_only_the_user_may_give(command, tmp_path):
    write_record(tmp_path, command)
    assert recorded_overrides(tmp_path) == ["seed=3", "noise.p=[0,0.1]"]


def test_a_resumed_run_takes_its_command_from_the_record_and_the_rest_from_the_user(tmp_path):
    write_record(tmp_path / "it's", shlex.join(["python", "train.py", "seed=3", "trust=[mine]"]))
    hydra = tmp_path / "it's" / ".hydra"
    hydra.mkdir()
    (hydra / "overrides.yaml").write_text("")  # as a kill while Hydra writes it leaves it
    arguments = ["--config-dir", "conf", f"resume={tmp_path}/it's", "trust=[mine]"]
    place = str(tmp_path / "it's").replace("'", "\\'")
    assert complete_arguments(arguments) == [
        "--config-dir",
        "conf",
        "seed=3",
        "trust=[mine]",
        f"hydra.run.dir='{place}'",
    ]


def test_the_folder_of_an_arm_is_resumed_in_the_folder_of_its_run(tmp_path):
    write_record(tmp_path / "run" / "none", "python train.py experiment=fig7_resnet20 arm=none")
    completed = complete_arguments([f"resume={tmp_path / 'run' / 'none'}"])
    assert completed == ["experiment=fig7_resnet20", "arm=none", f"hydra.run.dir='{tmp_path / 'run'}'"]


@pytest.mark.parametrize(
    "record", ["", "{", "[]", "{}", '{"command": 3}', '{"command": "a \'b"}', '{"command": ""}', "\x00"]
)
def test_a_record_without_a_command_is_refused_in_one_line(record, tmp_path):
    (tmp_path / "result.json").write_text(record)
    with pytest.raises(ConfigError, match=r"^resume=.*/result.json has no command that can be read") as refused:
        recorded_overrides(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_record_whose_command_lacks_what_its_run_was_asked_for_is_refused(tmp_path):
    record = {"status": "stopped", "command": "python train.py", "config": compose_settings("seed=3", "noise.p=0.1")}
    (tmp_path / "result.json").write_text(json.dumps(record))
    line = complete_arguments([f"resume={tmp_path}"])
    assert line == [f"hydra.run.dir='{tmp_path}'"]  # that of the default run
    with pytest.raises(
        ConfigError, match=r"another configuration \(noise\.p was 0\.1 and is .*, seed was 3 and is 0\b"
    ):
        check_command_line(line)


def test_a_folder_without_a_record_is_refused_though_hydra_has_left_overrides_there(tmp_path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("[]")
    with pytest.raises(
        ConfigError, match=r"no run can be found there, as .*/result.json does not exist; give its whole"
    ):
        complete_arguments([f"resume={tmp_path}"])
    write_record(tmp_path / "p=0", "python train.py")
    with pytest.raises(ConfigError, match=rf"it holds the runs {tmp_path}/p=0$"):
        complete_arguments([f"resume={tmp_path}"])


@pytest.mark.parametrize("given", ['"a b, ü"', "'a b, ü'", "a b, ü"])
def test_the_folder_of_resume_may_be_quoted_as_it_was_in_hydra_run_dir(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a b, ü", '"b"'):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps({"command": f"train.py seed={len(name)}"}))
    assert complete_arguments([f"resume={given}"]) == ["seed=6", f"hydra.run.dir='{tmp_path}/a b, ü'"]
    assert complete_arguments(['resume="b"'])[0] == "seed=3"
