import subprocess
import sys
from pathlib import Path

import pytest

import noisereg
from noisereg.completion import main

ENTRY = "#!{python}\nimport sys\nsys.path.insert(0, {root!r})\nfrom noisereg.{module} import main\nsys.exit(main())\n"
MODULES = {"noisereg": "cli", "noisereg-train": "__main__"}
ASK = """
eval "$(noisereg completion)"
COMP_LINE=$*
COMP_POINT=${#COMP_LINE}
COMP_WORDS=($COMP_LINE)
[[ $COMP_LINE == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_noisereg "$1" "${COMP_WORDS[COMP_CWORD]##*=}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """A folder with the scripts that an installation makes."""
    folder = tmp_path_factory.mktemp("bin")
    for name, module in MODULES.items():
        root = str(Path(noisereg.__file__).parents[1])
        (folder / name).write_text(ENTRY.format(python=sys.executable, root=root, module=module))
        (folder / name).chmod(0o755)
    return folder


def complete(scripts, *words):
    """Return what bash would offer behind some words."""
    environment = {"PATH": f"{scripts}:/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", ASK, "bash", *words], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["noisereg", "re"], ["report"]),
        (["noisereg", "d"], ["dashboard", "doctor"]),
        (["noisereg", "export", "runs", "--fo"], ["--font", "--format"]),
        (["noisereg", "report", "ru"], []),  # then bash offers files
        (["noisereg", "train", "model=resnet2"], ["resnet20"]),
        (["noisereg-train", "noise.fro"], ["noise.frozen="]),
    ],
)
def test_bash_is_offered_commands_options_and_keys(words, offered, scripts):
    assert complete(scripts, *words) == offered


def test_a_choice_is_never_run_by_the_shell(scripts, tmp_path):
    """The training stands for one whose configuration has values that a shell would run."""
    train = tmp_path / "noisereg-train"
    train.write_text(
        f"#!/bin/sh\necho 'model=$(touch {tmp_path}/run) model=`touch {tmp_path}/run` model=mlp model.hidden=0='\n"
    )
    train.chmod(0o755)
    assert complete(f"{tmp_path}:{scripts}", "noisereg", "train", "model=") == ["mlp"]
    assert not (tmp_path / "run").exists()


def test_a_word_too_many_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["zsh"])
    assert ended.value.code == 2
    assert "unrecognized arguments: zsh" in capsys.readouterr().err
