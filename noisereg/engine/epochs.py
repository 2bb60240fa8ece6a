"""How many epochs a training of Lightning has made."""

import math

from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn


def completed_epochs(trainer: Trainer) -> int:
    """Return how many whole epochs a training has made: one that `max_steps` has cut off is none.

    Lightning counts it, and counts the epoch whose end is measured after that.

    Example:
        >>> completed_epochs(Trainer(logger=False, accelerator="cpu"))
        0
    """
    batches = trainer.num_training_batches
    if 0 < batches < math.inf:
        return (trainer.fit_loop.total_batch_idx + 1) // int(batches)
    return trainer.current_epoch + (trainer.state.fn == TrainerFn.FITTING)
