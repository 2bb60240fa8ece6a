"""Training and evaluation by two processes: real command lines, real gloo."""

import multiprocessing
import re
import socket

import pytest
import torch
from ddp_parts import TEST_SIZES, evaluate, evaluate_in_process, make_data, make_module
from foreign_project import make_trainer
from run_program import ROOT, read_result, run_program

# 5 steps an epoch, saved after steps 4, 8 and 12; the last epoch is evaluated when the training is over
ARGUMENTS = ["model=resnet20", "model.depth=8", "dataset._target_=ddp_parts.Squares", "noise.p=0.4", "seed=3"]
ARGUMENTS += ["dataset.train_size=40", "dataset.test_size=21", "dataset.batch_size=8", "+dataset.eval_batch_size=8"]
ARGUMENTS += ["trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_epochs=3", "optimizer.lr=0.01"]
ARGUMENTS += ["callbacks.sparsity.every_n_epochs=2", "callbacks.checkpoint.every_n_train_steps=4"]
ARGUMENTS += ["trust=[ddp_parts]", "+callbacks.witness={_target_: ddp_parts.Witness}"]
TWO = [*ARGUMENTS, "trainer=ddp", "trainer.devices=2"]
APART = {f"train/{name}_{group}" for name in ("error", "loss", "active_neurons") for group in ("right", "wrong")}


def run(*arguments, cwd, **environment):
    return run_program(*arguments, cwd=cwd, PYTHONPATH=str(ROOT / "tests"), **environment)


def witnesses(folder, num_processes=2):
    paths = [folder / f"witness{rank}.pt" for rank in range(num_processes)]
    return [torch.load(path, weights_only=True) for path in paths]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A run of two processes where no folder is named, with its dashboard: the folder it began in, and its output."""
    cwd = tmp_path_factory.mktemp("two")
    done = run(*TWO, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd, done.stdout


def the_folder(cwd):
    (folder,) = (cwd / "outputs").glob("*/*")
    return folder


def test_two_processes_leave_one_run(two):
    cwd, printed = two
    assert len(re.findall(r"^data    Squares: ", printed, re.MULTILINE)) == printed.count("95 % t interval") == 1
    assert [path.name for path in cwd.iterdir()] == ["outputs"]
    folder = the_folder(cwd)
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1
    assert list(folder.glob("*process*")) == []
    result = read_result(folder)
    assert (result["status"], result["steps"], len(result["replicas"])) == ("finished", 15, 1)


def test_two_processes_end_with_one_network_and_one_table(two):
    folder = the_folder(two[0])
    first, second = witnesses(folder)
    assert first["rows"] == second["rows"]
    assert [row["step"] for row in first["rows"]] == [0, 5, 10, 15]
    assert first["losses"] == second["losses"]
    assert_same_state(first, second)
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, values in saved.items():
        assert torch.equal(values.squeeze(), first["state"][name]) or name.startswith("train_loss.")


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create the checkpoint")
def test_what_two_processes_say_of_their_last_network_is_what_one_says_of_the_checkpoint(two):
    """Batch normalisation has other statistics in every process; all evaluate with those that are saved."""
    folder = the_folder(two[0])
    alone = evaluate(folder / "checkpoints" / "last.ckpt", make_data(21, normalize="imagenet", seed=3))["values"]
    last = witnesses(folder)[0]["rows"][-1]
    compared = {name for name in alone if name.startswith("test/")}
    assert {"test/error", "test/loss", "test/active_fraction/layer3.0.relu2"} <= compared
    for name in compared:
        assert last[name] == pytest.approx(alone[name].item(), rel=1e-5), name


def test_two_processes_share_the_batches_and_the_noise_of_one(two, tmp_path):
    done = run(*ARGUMENTS, "logger=csv", "hydra.run.dir=one", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (one,) = witnesses(tmp_path / "one", 1)
    assert len(one["batches"]) == 15
    shares = zip(*(witness["batches"] for witness in witnesses(the_folder(two[0]))), strict=True)
    for whole, parts in zip(one["batches"], shares, strict=True):
        assert [len(part["label"]) for part in parts] == [4, 4]
        for name in ("index", "draw", "label", "target", "input"):
            for rank, part in enumerate(parts):
                assert torch.equal(whole[name][rank::2], part[name])
    changed = [sum(int((batch["target"] != batch["label"]).sum()) for batch in one["batches"][:5])]
    rates = [witness["rows"][1]["noise/measured_rate"] for witness in witnesses(the_folder(two[0]))]
    assert rates == pytest.approx([changed[0] / 40] * 2)


@pytest.mark.slow
def test_two_processes_that_were_killed_go_on_to_the_same_end(two, tmp_path):
    """Killed without warning in step 9, after the checkpoint of step 8: the fourth of the five of an epoch."""
    arguments = [*TWO, "logger=csv", "hydra.run.dir=killed"]
    killed = run(*arguments, cwd=tmp_path, DIES_AT="9")
    assert killed.returncode != 0
    folder = tmp_path / "killed"
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 8
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole = the_folder(two[0])
    assert (folder / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    assert read_result(folder)["replicas"] == read_result(whole)["replicas"]
    for resumed, straight in zip(witnesses(folder), witnesses(whole), strict=True):
        assert len(resumed["batches"]) == 15 - 8
        assert resumed["losses"] == straight["losses"]
        assert resumed["rows"] == straight["rows"]
        assert_same_state(resumed, straight)


def test_batches_that_two_processes_cannot_share_evenly_are_refused_before_any_work(tmp_path):
    done = run(*TWO, "dataset.batch_size=7", "logger=csv", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "error: every training batch must divide among 2 processes, got batches of 7" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_processes_count_and_score_a_checkpoint_as_one_does(tmp_path):
    trainer = make_trainer(num_sanity_val_steps=0, inference_mode=False)
    trainer.fit(make_module(), make_data(9))
    trainer.save_checkpoint(tmp_path / "trained.ckpt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = multiprocessing.get_context("forkserver")
    processes = [server.Process(target=evaluate_in_process, args=(rank, port, str(tmp_path))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    found = [torch.load(tmp_path / f"process{rank}.pt", weights_only=True) for rank in range(2)]
    for n in TEST_SIZES:
        alone = evaluate(tmp_path / "trained.ckpt", make_data(n))
        assert alone["counts"]["test/relu"][:, -1].sum() == n
        assert 0 < alone["values"]["train/wrong_labels"] < alone["counts"]["train/relu"][:, -1].sum() == 41
        assert APART <= alone["values"].keys()
        for shared in (both[n] for both in found):
            assert_same_evaluation(shared, alone)


def assert_same_evaluation(shared, alone):
    assert shared["counts"].keys() == alone["counts"].keys()
    for layer, counts in alone["counts"].items():
        assert torch.equal(shared["counts"][layer], counts), layer
    assert shared["values"].keys() == alone["values"].keys()
    for name, value in alone["values"].items():
        if "loss" in name:
            assert shared["values"][name].item() == pytest.approx(value.item(), rel=1e-6)
        else:
            torch.testing.assert_close(shared["values"][name], value, rtol=0, atol=0, equal_nan=True)


def assert_same_state(one, other):
    assert one["state"].keys() == other["state"].keys()
    differing = [name for name, values in one["state"].items() if not torch.equal(values, other["state"][name])]
    assert [name for name in differing if not name.startswith("train_loss.")] == []
