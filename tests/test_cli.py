import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import noisereg
from noisereg.cli import main
from noisereg.training.doctor import examine

COMMANDS = ["train", "report", "export", "plot", "labels", "prune", "dashboard", "doctor", "completion"]
CODE = """
import sys
from noisereg.cli import main
try:
    code = main()
except SystemExit as end:
    code = end.code
print(*sorted(sys.modules))
sys.exit(code)
"""


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["noisereg", *arguments])
    return main()


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_every_command(arguments, monkeypatch, capsys):
    assert call(monkeypatch, *arguments) == 0
    named = re.findall(r"^  (\w+) ", capsys.readouterr().out, re.MULTILINE)
    assert named == COMMANDS


def test_help_loads_no_library():
    done = subprocess.run([sys.executable, "-c", CODE, "--help"], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "noisereg.cli" in loaded
    assert not loaded & {"torch", "lightning", "hydra", "omegaconf", "numpy", "rich", "pandas", "wandb"}


@pytest.mark.parametrize("arguments", ["--help", "--version", "plot --help"])
def test_help_that_is_cut_off_is_no_error(arguments):
    command = f"{sys.executable} -m noisereg.cli {arguments} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_help_of_a_command_is_that_of_its_own_parser_and_loads_no_library(command):
    done = subprocess.run([sys.executable, "-c", CODE, command, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: noisereg {command} ")
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"torch", "lightning", "hydra", "omegaconf", "numpy", "rich", "pandas", "wandb", "altair"}


def test_help_of_the_training_loads_hydra_and_no_more():
    done = subprocess.run([sys.executable, "-c", CODE, "train", "--help"], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "hydra" in loaded and not loaded & {"torch", "lightning", "numpy", "pandas", "wandb", "altair"}


@pytest.mark.slow
def test_help_of_every_command_takes_a_few_times_what_hydra_takes_to_load():
    """A ratio of times of the CPU, whose best of five is not the machine's load: 2.5 was measured for train."""
    commands = [["-m", "noisereg.cli", command, "--help"] for command in COMMANDS]
    best = {tuple(call): min(cpu_seconds(call) for _ in range(5)) for call in [["-c", "import hydra"], *commands]}
    hydra = best.pop(("-c", "import hydra"))
    assert max(best.values()) < 5 * hydra, (best, hydra)


def cpu_seconds(call):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *call], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_command_that_does_not_exist_is_refused(monkeypatch, capsys):
    assert call(monkeypatch, "trian") == 2
    assert "noisereg trian: there is no such command (known: train, report" in capsys.readouterr().err


def test_ctrl_c_while_a_command_is_loaded_is_a_line(monkeypatch, capsys):
    def interrupted(module):
        raise KeyboardInterrupt

    monkeypatch.setattr("noisereg.cli.import_module", interrupted)
    assert call(monkeypatch, "report", "runs") == 130
    assert capsys.readouterr().err == "stopped by ctrl-c\n"


def test_the_version_is_that_of_the_package(monkeypatch, capsys):
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"noisereg {noisereg.__version__}\n"


@pytest.mark.parametrize(
    ("module", "arguments", "code", "printed"),
    [
        ("noisereg.cli", ["train", "noise.p=2", "logger=csv"], 2, "noise.p must be"),
        ("noisereg", ["train", "noise.p=2", "logger=csv"], 2, "noise.p must be"),
        ("noisereg", ["noise.p=2", "logger=csv"], 2, "noise.p must be"),
        ("noisereg", ["report", "nowhere"], 2, "nowhere is no folder"),
        ("noisereg.cli", ["dashboard"], 0, "the workspace of noisereg on W&B"),
    ],
)
def test_a_command_gets_the_arguments_after_it(module, arguments, code, printed, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(noisereg.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == code
    assert printed in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_further_processes_of_a_training_are_started_by_its_script(tmp_path, monkeypatch):
    scripts = [tmp_path / "bin" / name for name in ("noisereg", "noisereg-train")]
    scripts[0].parent.mkdir()
    for script in scripts:
        script.touch()
    link = tmp_path / "noisereg"  # as pipx makes them
    link.symlink_to(scripts[0])
    started = []
    monkeypatch.setattr("noisereg.__main__.start", lambda: started.append(list(sys.argv)))
    monkeypatch.setattr(sys, "argv", [str(link), "train", "trainer=ddp"])
    assert main() == 0
    assert started == [[str(scripts[1]), "trainer=ddp"]]  # Lightning starts each process with these


def test_the_doctor_names_what_a_run_would_find(tmp_path, monkeypatch):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2)
    found = dict(examine(tmp_path))
    assert found["noisereg"] == noisereg.__version__
    assert "torch " in found["packages"]
    assert found["W&B"] == "disabled"
    assert found["data"] == f"MNIST: {tmp_path / 'MNIST/raw'}"
    assert "0123456789abcdef" not in str(found)
    assert dict(examine(tmp_path / "none"))["data"].startswith("none in")


TINY = ["trainer.max_epochs=1", "dataset.train_size=8", "dataset.test_size=20", "logger=csv", "model.hidden=4"]


def quiet(*arguments, cwd):
    environment = os.environ | {"PYTHONPATH": str(Path(noisereg.__file__).parents[1])}
    call = [sys.executable, "-m", "noisereg.cli", "train", "--quiet", *arguments]
    return subprocess.run(call, capture_output=True, text=True, check=False, cwd=cwd, env=environment, timeout=300)


def test_a_quiet_run_prints_the_path_of_its_record_alone(tmp_path):
    done = quiet(*TINY, "seeds=1", "noise.p=0.2", "hydra.run.dir=here", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "here/result.json\n", "")
    assert '"status": "finished"' in (tmp_path / "here" / "result.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["noise.p=2"], "error: noise.p must be a number in [0, 1], or a list of different ones, got 2\n"),
        (["--cfg", "job"], "error: --quiet goes with a run, or a sweep of Hydra's own: there is no path to print\n"),
    ],
)
def test_a_quiet_run_that_is_refused_says_so_on_stderr_alone(arguments, message, tmp_path):
    done = quiet(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


@pytest.mark.slow
def test_a_quiet_sweep_prints_the_paths_of_its_finished_runs_and_how_many_failed(tmp_path):
    grid = ["-m", "noise.p=0,0.2", "seeds=1", "hydra.sweep.dir=s", "engine=single"]
    done = quiet(*TINY, *grid, "optimizer.lr=0.1,1e30", cwd=tmp_path)
    assert done.returncode != 0
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert [path.parent.name for path in paths] == ["noise.p=0,optimizer.lr=0.1", "noise.p=0.2,optimizer.lr=0.1"]
    assert all((tmp_path / path).is_file() for path in paths)
    assert "2 of 4 runs are not finished" in done.stderr
