"""No secret leaves the program: not in a file of a run, a report or an export, and not on the terminal."""

import io
import json
import logging
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from restarts import write_images
from run_program import run_program
from runs.run_folders import write_run
from secret_shapes import LETTERS, SHAPES

from noisereg.report.__main__ import main as report
from noisereg.report.export import main as export
from noisereg.secrets import hide_known, hide_known_in, hide_secrets
from noisereg.terminal import guard_logs

SECRET = "4f2a-not-a-word"
# What stands for a secret by its name alone, and what does by its shape, each told apart by a word of its own.
VALUES = {
    "GITHUB_PAT": "the-pat-is-7-Quagga",
    "MY_DB_PASSWORD": 'with "Numbat" & <marks>',
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef0Bandico",
    "SLURM_JWT": "eyJhbGciOiJIUzI1NiJ9.eyJsdW1iYXQiOjF9.Pademelon",
    "SLURM_JOB_COMMENT": "ghp_" + 5 * "Tamandua",
    "SOME_NOTE": "ghp_" + 5 * "Binturong",
    "HTTPS_PROXY": "http://me:Kinkajou@localhost:1",
}
WORDS = ["Quagga", "Numbat", "0Bandico", "Pademelon", "Tamandua", "Binturong", "Kinkajou"]
WORDS += ["Okapiokapi", "Gerenukger", "Solenodon1", "Dugongdugo"]
MODULE = """
import logging, os, sys, warnings
from noisereg.models import MLP

class Net(MLP):
    def __init__(self, *arguments, fails=False, **keywords):
        super().__init__(*arguments, **keywords)
        names = ("GITHUB_PAT", "MY_DB_PASSWORD", "SOME_NOTE")
        for told in (*(os.environ[name] for name in names), "ghp_" + 5 * "Okapiokapi"):
            logging.getLogger("mine").warning("logged %s", told)
            warnings.warn(f"warned of {told}")
            print(f"printed {told}")
            print(f"printed {told}", file=sys.stderr)
            if fails:
                raise RuntimeError(f"raised over {told}")
"""


def test_secrets_are_hidden_in_a_text():
    text = f"no access: {SECRET}, {SHAPES['GitHub']} at https://me:hidden@host and {SHAPES['a private key']}"
    assert hide_secrets(text, environment={"MY_TOKEN": SECRET}) == "no access: ***, *** at ***host and ***"


@pytest.mark.parametrize(
    "secret", [value for name, value in SHAPES.items() if "encoded" not in name and "older" not in name]
)
def test_each_shape_is_hidden_wherever_it_stands_among_plain_values(secret):
    node = {"a": [f"is {secret}, they say"], secret: 1, "b": None, "c": (2.5, True)}
    hidden = hide_known_in(node, [])
    assert LETTERS[35:45] not in str(hidden) and "hidden" not in str(hidden)
    assert (hidden["b"], hidden["c"]) == (None, [2.5, True])


def test_an_ordinary_text_stays_as_it_is():
    text = "resnet20 on CIFAR-10 at 2026-11-29, commit 6def9071234567890abcdef1234567890abcdef1, https://host:80/a@b"
    assert hide_known(text, []) == hide_secrets(text, environment={"SEED": "2026-11-29"}) == text


def plant(folder: Path) -> dict[str, str]:
    """Plant a secret in each input of a run but its configuration, which is refused, and return its variables."""
    write_images(folder / "images")
    (folder / "mine.py").write_text(MODULE)
    (folder / "netrc").write_text("machine api.wandb.ai\n  login user\n  password Gerenukgerenuk\n")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    remote = f"https://ghp_{5 * 'Solenodon1'}:x-oauth-basic@github.com/a/b.git"
    subprocess.run(["git", "-C", str(folder), "remote", "add", "origin", remote], check=True)
    return {**VALUES, "NETRC": str(folder / "netrc"), "WANDB_MODE": "offline", "PYTHONPATH": str(folder)}


def contents(path: Path) -> bytes:
    """The bytes of a file, and what is packed in it: an archive's members, the streams of a PDF."""
    data = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            data += b"".join(archive.read(name) for name in archive.namelist())
    for part in data.split(b"stream\n")[1:] if path.suffix == ".pdf" else ():
        try:
            data += zlib.decompressobj().decompress(part)
        except zlib.error:
            continue
    return data


def find_planted(folder: Path) -> list[str]:
    """Return which word stands in the name or the bytes of which file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 4
    return [f"{path}: {word}" for path in files for word in WORDS if word.encode() in contents(path) + bytes(path)]


def test_no_secret_is_in_a_byte_that_a_run_writes(tmp_path):
    environment = plant(tmp_path)
    images = ["dataset=image_folder", "dataset.root=images", "dataset.image_size=8", "dataset.batch_size=8"]
    own = ["model._target_=mine.Net", "trust=[mine]", "noise.p=0.3", "trainer.max_epochs=2", "trainer.accelerator=cpu"]
    sweep = ["-m", "+model.fails=false,true", "hydra.sweep.dir=out"]
    done = run_program(
        *images, "model=mlp", "model.hidden=4", *own, "engine=single", *sweep, cwd=tmp_path, **environment
    )
    assert done.returncode == 1
    whole, failed = sorted((tmp_path / "out").glob("*/result.json"))
    assert json.loads(whole.read_text())["status"] == "finished"
    assert "raised over ***" in json.loads(failed.read_text())["reason"]
    assert all("logged ***" in (path.parent / "train.log").read_text() for path in (whole, failed))
    assert "printed ***" in done.stdout and "warned of ***" in done.stderr

    assert not [word for text in (done.stdout, done.stderr) for word in WORDS if word in text]
    assert [line for path in (whole, failed) for line in find_planted(path.parent)] == []


@pytest.mark.parametrize("write", [report, pytest.param(export, marks=pytest.mark.slow)])
def test_no_secret_is_in_a_byte_that_is_written_of_the_runs_of_others(write, tmp_path, monkeypatch, capfd):
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("noisereg.terminal._secrets", lambda: list(VALUES.values()))
    told = f"{VALUES['MY_DB_PASSWORD']} {VALUES['GITHUB_PAT']} ghp_{5 * 'Dugongdugo'}"
    rows = [{"p": p, "seed": 0, "test/error": p / 2, "ended_by": told} for p in (0.0, 0.2)]
    claims = [{"id": told, "says": told, "place": told, "metric": "test/error", "paper": 0, "tolerance": 1}]
    experiment = {"id": told, "title": told, "note": told, "claims": claims}
    config = {"logger": {"tags": [told]}, "model": {"_target_": "a.B", told: told}}
    around = {"environment": {told: told}, "command": told, "data": told, "reason": told, "checks": [{"id": told}]}
    write_run(tmp_path / "out" / "theirs", config=config, replicas=rows, **around)
    write_run(tmp_path / "out" / "claimed", config=config, replicas=rows, experiment=experiment, **around)
    write_run(tmp_path / "out" / "failed", status="failed", config=config, replicas=[], **around)
    write_run(tmp_path / "out" / told, config=config | {"seed": 1}, replicas=rows)
    assert write([str(tmp_path / "out"), "--out", str(tmp_path / "shown")]) == 0
    printed = capfd.readouterr()
    assert not [word for text in printed for word in WORDS if word in text]
    assert find_planted(tmp_path / "shown") == []


CAPTURED = """
import sys
from noisereg.terminal import guard_captures, guard_output
guard_output()
taken, write = [], sys.stdout.write
sys.stdout.write = lambda text: taken.append(text) or write(text)  # as W&B does
guard_captures()
guard_captures()
print(f"with {sys.argv[1]}")
print(taken, file=sys.stderr)
"""


def test_what_a_library_takes_of_the_printed_holds_no_secret():
    done = subprocess.run(
        [sys.executable, "-c", CAPTURED, SHAPES["GitHub"]], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("with ***\n", "['with ***', '\\n']\n")


def test_a_log_holds_no_secret():
    log = logging.getLogger()
    handler = logging.StreamHandler(stream := io.StringIO())
    log.addHandler(handler)
    try:
        guard_logs()
        log.warning("with %s", SHAPES["GitHub"])
        try:
            raise RuntimeError(SHAPES["GitHub"])
        except RuntimeError:
            log.exception("failed")
    finally:
        log.removeHandler(handler)
    first, *_, last = stream.getvalue().splitlines()
    assert (first, last) == ("with ***", "RuntimeError: ***")
