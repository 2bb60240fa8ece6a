"""Refuse two callbacks of a kind in one trainer, where the second would undo what the first one does."""

from lightning.pytorch import Callback, Trainer


def check_only_one(trainer: Trainer, kind: type[Callback], *, mend: str) -> None:
    """Raise ValueError if a trainer has two callbacks of a kind, with what to give in place of them."""
    found = [callback for callback in trainer.callbacks if isinstance(callback, kind)]  # type: ignore[attr-defined]
    if len(found) > 1:
        raise ValueError(f"a trainer must have one {kind.__name__}, got {len(found)}: {mend}")
