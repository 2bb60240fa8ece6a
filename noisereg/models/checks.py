"""Checks of the arguments that several models share."""

from collections.abc import Collection


def check_positive(**sizes: int) -> None:
    """Raise ValueError for sizes below one.

    Args:
        sizes: values by the argument's name.

    Raises:
        ValueError: a size is below 1.

    Example:
        >>> check_positive(hidden=240, num_outputs=1)
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise ValueError for a value that is not among the choices.

    Args:
        name: of the argument.
        value: that came.
        choices: that are known.

    Raises:
        ValueError: the value is none of the choices.

    Example:
        >>> check_choice("bias", "zero", ["zero", "none"])
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_append_one(append_one: bool, bias: str) -> None:
    """Raise ValueError for an appended one beside biases: it takes their place.

    Args:
        append_one: whether the input is (x, 1).
        bias: the law of the biases, "none" for layers without.

    Raises:
        ValueError: both are asked for.

    Example:
        >>> check_append_one(True, "none")
    """
    if append_one and bias != "none":
        raise ValueError(f"append_one=True takes the place of the biases and requires bias='none', got {bias!r}")
