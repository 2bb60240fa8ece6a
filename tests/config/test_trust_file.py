import os
from pathlib import Path

import pytest

from noisereg.config.trust_file import with_project_trust
from noisereg.errors import ConfigError


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """The folder of a project, which trusts a package of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write(folder)
    return folder


def write(folder, text='trust = ["mypkg", "other.part"]\n'):
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "noisereg.toml"
    path.write_text(text)
    path.chmod(0o644)
    return path


def completed(*overrides):
    return with_project_trust(list(overrides), list(overrides))


def test_a_project_trusts_once_for_all_commands_in_its_folder():
    assert completed("seed=1") == ["seed=1", "trust=[mypkg,other.part]"]


def test_what_the_command_line_trusts_is_all_that_counts():
    assert completed("trust=[mine]") == ["trust=[mine]"]
    assert completed("trust=[]") == ["trust=[]"]


def test_no_file_and_an_empty_one_trust_nothing(project):
    write(project, "trust = []")
    assert completed("seed=1") == ["seed=1"]
    (project / "noisereg.toml").unlink()
    assert completed("seed=1") == ["seed=1"]


def test_the_file_of_a_folder_above_counts_for_nothing(project, monkeypatch):
    (project / "inner").mkdir()
    monkeypatch.chdir(project / "inner")
    assert completed("seed=1") == ["seed=1"]


def test_the_file_in_the_folder_of_a_run_or_of_data_is_not_looked_for(project):
    (project / "noisereg.toml").unlink()
    write(project / "run")
    write(project / "data")
    (project / "run" / "result.json").write_text('{"command": "noisereg-train seed=1"}')
    for line in ("hydra.run.dir=run", "resume=run", "dataset.root=data"):
        assert completed(line) == [line]
    assert with_project_trust(["--config-dir", "run"], []) == ["--config-dir", "run"]


@pytest.mark.parametrize("left", ["result.json", ".hydra"])
def test_a_command_in_the_folder_of_a_run_is_refused(left, project):
    (project / left).mkdir()
    with pytest.raises(
        ConfigError, match=r"^noisereg\.toml lies in \S+, the folder of a run, where it counts for nothing"
    ):
        completed("resume=.")


@pytest.mark.parametrize("root", [".", "../project", "{project}"])
def test_a_command_in_the_folder_of_its_data_is_refused(root, project):
    with pytest.raises(ConfigError, match=r"^noisereg\.toml lies in \S+, the folder of data"):
        completed(f"dataset.root='{root.format(project=project)}'")


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_write_is_refused(mode, project):
    (project / "noisereg.toml").chmod(mode)
    with pytest.raises(ConfigError, match=r"can be written by others: nothing is trusted; chmod go-w noisereg\.toml$"):
        completed()


def test_the_file_of_another_user_is_refused(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: Path.cwd().stat().st_uid + 1)
    with pytest.raises(ConfigError, match=r"^noisereg\.toml belongs to another user \(uid \d+\): nothing is trusted"):
        completed()


def test_a_link_and_a_pipe_are_refused(project):
    path = project / "noisereg.toml"
    path.rename(project / "elsewhere.toml")
    path.symlink_to("elsewhere.toml")
    with pytest.raises(ConfigError, match=r"^noisereg\.toml cannot be read \("):
        completed()
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(ConfigError, match=r"^noisereg\.toml cannot be read \("):
        completed()
    path.unlink()
    os.mkfifo(path, 0o644)
    with pytest.raises(ConfigError, match=r"^noisereg\.toml is no regular file$"):
        completed()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trust = [", r"cannot be read \("),
        ("\xff".encode("latin-1").decode("latin-1"), r"cannot be read \("),
        ('trusted = ["a"]', r"has trusted: it can hold trust; did you mean trust\?$"),
        ('trust = "mypkg"', r'trust must be a list of packages such as \["mypkg"\], got \'mypkg\'$'),
        ('trust = ["a],seed=[3"]', r"trust must be a list of packages"),
        ("trust = [1]", r"trust must be a list of packages"),
    ],
)
def test_what_is_no_list_of_packages_is_refused(text, message, project):
    write(project, text)
    with pytest.raises(ConfigError, match=r"^noisereg\.toml:? " + message):
        completed()
