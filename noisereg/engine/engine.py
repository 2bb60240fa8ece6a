"""What an engine of many replicas is: their weights, a way to train them at once and a way to measure them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn

from noisereg.datasets import Split

SharedData = tuple[list[int], dict[str, Split]]  # replicas that have their data in common, and the splits of these

Given = Callable[[int], Int64[Tensor, " n"] | None]  # labels that a replica is given for the evaluated training samples


@runtime_checkable
class Engine(Protocol):
    """R networks that are trained at once.

    Attributes:
        name: of the engine, as the configuration has it.
        networks: the weights of all replicas, each tensor with the replicas as its first axis.
        threads: of its own, beside which torch should have one; 0 if it uses torch's.
        crosses_epochs: whether a call of `train` may go through the end of an epoch.
    """

    name: str
    threads: int
    crosses_epochs: bool

    @property
    def networks(self) -> nn.Module: ...

    def __len__(self) -> int:
        """Count the replicas."""

    def prepare(self, inputs: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *features"]:
        """Return the inputs of samples as the engine wants them."""

    def train(
        self,
        inputs: Float[Tensor, "n *features"],
        *,
        index: Int64[Tensor, "k draws"],
        targets: Shaped[Tensor, "k draws *classes"],
        rates: Float[Tensor, " k"],
        replicas: Int64[Tensor, " k"],
    ) -> Float[Tensor, " k"] | None:
        """Train k of the replicas in place, and leave the others as they are.

        Args:
            inputs: that `prepare` made; all replicas take theirs from here.
            index: row of `inputs` of each draw of each of them; the draws of a step lie side by side.
            targets: class of each draw, int64, or distribution over the classes.
            rates: learning rate of each of them.
            replicas: their numbers.

        Returns:
            The sum of the losses over the draws, as they were when each draw was trained on; None where that is not
            known.
        """

    def measure(
        self,
        data: Iterable[SharedData],
        running: Sequence[bool],
        *,
        num_classes: int,
        first: bool,
        given: Given | None = None,
    ) -> Mapping[str, Float[Tensor, " replicas"]]:
        """Measure the running replicas: errors, losses and activity on each split, norms and biases.

        Args:
            data: inputs as `prepare` made them, and clean labels.
            running: which replicas are to be measured; the values of the others are nan.
            num_classes: C.
            first: whether this is the first measurement of the training.
            given: the labels that a replica is trained on, by its number, in the order of the training split; None
                where it has no label that stays. What it does on right and on wrong ones is measured apart.
        """

    def finite(self) -> Bool[Tensor, " replicas"]:
        """Return which replicas have finite weights only."""

    def copy_to(self, model: nn.Module, replica: int) -> None:
        """Write what one replica has learned into a network of the kind that was stacked."""

    def fires(self) -> Int64[Tensor, "replicas classes units"] | None:
        """Return how often each unit fired for each class in the last measurement on the training split.

        None where there is not exactly one layer of units, or classes are not told apart.
        """

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside the weights, as plain values and tensors."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
