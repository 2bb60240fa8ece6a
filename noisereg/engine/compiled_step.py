"""A step through `torch.compile` whose checks are made once."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class CompiledStep:
    """A step through `torch.compile` that is given a new batch each time, and what it takes beside the batch once.

    What `torch.compile` checks and prepares in a call takes a fourth of the time of a small network's step. So it does
    that in the first call only, in which the graph is kept with the tensors that enter it. The next calls put their
    batches in the place of the first one and call the graph, until a batch has another shape, or `forget`.

    Args:
        function: of the inputs, the targets and what `prepare` returns; it updates tensors, and returns one.
        prepare: returns the other arguments, which the graph refers to until `forget`.
    """

    def __init__(self, function: Callable[..., Tensor], prepare: Callable[[Tensor, Tensor], tuple[Any, ...]]) -> None:
        self._one_graph = torch.compile(function, dynamic=False, fullgraph=True, backend=self._compile)
        self._any_graphs = torch.compile(function, dynamic=False)
        self._prepare, self._is_one_graph = prepare, True
        self._graph: Callable[..., Sequence[Any]]
        self._entered: list[Any] = []
        self._returned: Sequence[Any] = ()
        self._kind: object = None
        self._inputs_at = self._targets_at = self._losses_at = 0

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Make a step on a batch."""
        kind = [(tensor.shape, tensor.stride(), tensor.dtype, tensor.device) for tensor in (inputs, targets)]
        if kind == self._kind:
            self._entered[self._inputs_at], self._entered[self._targets_at] = inputs, targets
            losses: Tensor = self._graph(*self._entered)[self._losses_at]
            return losses
        self.forget()
        arguments = (inputs, targets, *self._prepare(inputs, targets))
        errors = torch._dynamo.exc  # torch.compile has no public names for what it raises
        if self._is_one_graph:
            try:
                losses = self._one_graph(*arguments)
            except (errors.Unsupported, errors.FailOnRecompileLimitHit):  # of tracing: nothing is updated yet
                self._is_one_graph = False
        if not self._is_one_graph:
            return self._any_graphs(*arguments)
        if self._entered:  # not where torch.compile is switched off
            self._inputs_at, self._targets_at = _place(inputs, self._entered), _place(targets, self._entered)
            self._losses_at, self._kind = _place(losses, self._returned), kind
        return losses

    def forget(self) -> None:
        """Prepare and check the next call anew: what the graph refers to is no longer what is trained."""
        self._kind, self._entered, self._returned = None, [], ()

    def _compile(self, graph: Any, examples: Any) -> Callable[..., Any]:
        # where torch's guide to custom backends finds the one that is wrapped; there is no other name for it
        compiled = torch._dynamo.lookup_backend("inductor")(graph, examples)

        def call(*entered: Any) -> Any:
            self._graph, self._entered, self._returned = compiled, [*entered], compiled(*entered)
            return self._returned

        return call


def _place(wanted: Tensor, tensors: Sequence[Any]) -> int:
    (place,) = (place for place, tensor in enumerate(tensors) if tensor is wanted)
    return place
