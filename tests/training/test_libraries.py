import subprocess
import sys
from textwrap import dedent

import pytest

from noisereg.training import libraries

DEFERRED = ("torch._dynamo", "triton", "torchvision", "scipy.signal")


def run_alone(script):
    """Run a script in a program that has loaded nothing yet, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_lightning_is_loaded_without_libraries_that_are_whole_once_they_are_used():
    script = f"""
        import sys
        from noisereg.training.libraries import load_lightning
        load_lightning()
        print(*(name in sys.modules for name in {DEFERRED}))

        import torch
        from lightning.fabric.wrappers import OptimizedModule
        from torchmetrics.functional.detection import intersection_over_union
        print(isinstance(torch.nn.ReLU(), OptimizedModule), "torch._dynamo" in sys.modules)
        print(intersection_over_union(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[0.0, 0, 2, 4]])).item())
        compiled = torch.compile(torch.nn.ReLU())
        print(isinstance(compiled, OptimizedModule), isinstance(torch.nn.ReLU(), OptimizedModule))
        import scipy.signal
        print(scipy.signal.windows.hann(3).tolist()[1])
    """
    assert run_alone(script) == ["False"] * 6 + ["0.5", "True", "False", "1.0"]


@pytest.mark.slow
def test_a_training_is_logged_and_compiled_as_without():
    script = """
        from noisereg.training.libraries import load_lightning
        load_lightning()
        import sys, torch
        from lightning.pytorch import LightningModule, Trainer

        class Line(LightningModule):
            def __init__(self):
                super().__init__()
                self.line = torch.nn.Linear(1, 1)

            def training_step(self, batch, batch_idx):
                loss = self.line(batch).mean()
                self.log("loss", loss, on_epoch=True)
                return loss

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.0)

        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
        trainer = Trainer(max_epochs=1, enable_model_summary=False, **quiet)
        line = Line()
        trainer.fit(torch.compile(line, backend="eager"), torch.ones(4, 1))
        expected = line.line(torch.ones(1, 1)).item()
        print(trainer.global_step, abs(trainer.callback_metrics["loss"].item() - expected) < 1e-6)
    """
    assert run_alone(script)[-2:] == ["4", "True"]


def test_a_part_that_is_used_while_stand_ins_are_in_place_is_the_real_one(monkeypatch):
    monkeypatch.setattr(libraries, "_DEFERRED", ("graphlib",))
    monkeypatch.delitem(sys.modules, "graphlib", raising=False)
    with libraries._stand_ins():
        from graphlib import CycleError, TopologicalSorter  # noqa: PLC0415

        assert not isinstance(ValueError(), CycleError)
        assert isinstance(sys.modules["graphlib"], libraries._StandIn)  # the question loads nothing
        assert list(TopologicalSorter({"b": {"a"}}).static_order()) == ["a", "b"]
    assert isinstance(sys.modules["graphlib"].CycleError(), CycleError)
    assert not isinstance(ValueError(), CycleError)
