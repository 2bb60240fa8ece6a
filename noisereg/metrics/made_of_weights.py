"""Which tensors a network makes of its weights alone, whatever its inputs are: they are no outputs of a layer."""

import weakref
from collections.abc import Iterable
from typing import Any, no_type_check

from torch import Tensor, nn


class MadeOfWeights:
    """Follow the tensors that are computed from nothing but weights and buffers, such as a bias of positions.

    A tensor of unknown origin is not one of them; nor is a buffer that was written to since, as with a state.

    Args:
        module: whose weights and buffers they are.

    Example:
        >>> import torch
        >>> norm = nn.BatchNorm1d(2)
        >>> made = MadeOfWeights(norm)
        >>> scale = norm.weight / norm.running_var
        >>> made.note((norm.weight, norm.running_var), scale)
        True
        >>> twice = scale * 2
        >>> made.note((scale, 2), twice), made.note((twice, torch.ones(2)), twice.add_(torch.ones(2)))
        (True, False)
    """

    def __init__(self, module: nn.Module) -> None:
        known = [buffer for buffer in module.buffers() if not buffer.is_inference()]  # those count no writings
        # torch's number of writings has no public name, and a copy of the content would have to be compared
        self._buffers = {id(buffer): (buffer, buffer._version) for buffer in known}
        self._made: dict[int, weakref.ref[Tensor]] = {}

    @no_type_check  # as it is called at every call of a function
    def note(self, arguments: Iterable[Any], output: Any) -> bool:
        """Remember the output of a call that had only such tensors, and return whether it is one.

        Args:
            arguments: of the call, without lists in them.
            output: of it.
        """
        if self.holds(arguments):
            for value in output if isinstance(output, list | tuple) else [output]:
                if isinstance(value, Tensor):
                    self._made[id(value)] = weakref.ref(value)
            return True
        for value in arguments:
            if output is None or value is output:  # then it was written to
                self._made.pop(id(value), None)
        return False

    @no_type_check
    def holds(self, values: Iterable[Any]) -> bool:
        """Return whether there are tensors among some values, and all are made of weights alone."""
        tensors = [value for value in values if isinstance(value, Tensor)]
        return bool(tensors) and all(self._holds(tensor) for tensor in tensors)

    def clear(self) -> None:
        """Forget what was made."""
        self._made.clear()

    @no_type_check
    def _holds(self, tensor: Tensor) -> bool:
        if isinstance(tensor, nn.Parameter):
            return True
        buffer, version = self._buffers.get(id(tensor), (None, 0))
        if buffer is tensor:
            return buffer._version == version
        made = self._made.get(id(tensor))
        return made is not None and made() is tensor
