"""Text by characters: which one follows those before it."""

import hashlib
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from noisereg import rng
from noisereg.datasets.in_memory import Common, InMemory
from noisereg.datasets.split import Split
from noisereg.errors import DatasetError, require_positive
from noisereg.rng import Stream

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORDS = 500  # of the made-up language
_MOST_KINDS = 256


class Characters(InMemory):
    """Windows of a text, as numbers of its characters, each labelled by the character that follows it.

    The text is a file's, or without one made-up: words of two to eight letters, drawn by Zipf's law, with a space
    between each two. Its last tenth is the test split; no window lies in both. The classes are the different
    characters, in order.

    Args:
        path: of a text file in UTF-8; None for a made-up text of `length` characters.
        context: characters of a window.
        length: of a made-up text.
        train_size: windows kept for training; None for all.
        test_size: windows kept for the test; None for all.
        common: see `InMemory`.

    Raises:
        ValueError: if a size is below 1, or a made-up text is too short for a window.
        DatasetError: if the file cannot be read, is too short, or has not 3 to 256 different characters.

    Example:
        >>> data = Characters(length=1000, context=8)
        >>> data.setup()
        >>> data.splits["train"].inputs.shape, data.num_classes
        (torch.Size([892, 8]), 27)
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        context: int = 32,
        length: int = 100_000,
        train_size: int | None = None,
        test_size: int | None = None,
        **common: Unpack[Common],
    ) -> None:
        require_positive(context=context, length=length)
        if path is None and length < 20 * context:
            raise ValueError(f"length must be at least 20 times context={context}, got {length}")
        super().__init__(train_size=train_size, test_size=test_size, **common)
        self.path, self.length, self.input_shape = None if path is None else Path(path), length, (context,)
        self.text = self._read() if self.path else _make_text(length, seed=self.seed)
        self.characters = "".join(sorted(set(self.text)))
        self.num_classes = len(self.characters)
        self._check_text()
        place = {character: number for number, character in enumerate(self.characters)}
        self.numbers = torch.tensor([place[character] for character in self.text])
        what = self.path.name if self.path else "a made-up text"
        self.source = f"{what} of {len(self.text):,} characters; entropy of a pair {self.bigram_entropy:.3f} nats"

    def fingerprint(self) -> dict[str, Any]:
        """Return the sum of a file's text, and the context; nothing for a made-up one, which the arguments tell."""
        if self.path is None:
            return {}
        return {"text": hashlib.sha256(self.text.encode()).hexdigest(), "context": self.input_shape[0]}

    @property
    def bigram_entropy(self) -> float:
        """Entropy of a character given the one before it, in nats: the loss of the best guess from that one alone."""
        pairs = self.numbers[:-1] * self.num_classes + self.numbers[1:]
        counts = torch.bincount(pairs, minlength=self.num_classes**2).view(self.num_classes, -1).double()
        law = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
        return float((counts.sum(dim=1) / counts.sum() * torch.special.entr(law).sum(dim=1)).sum())

    @property
    def depends_on_seed(self) -> bool:
        """Whether another seed has another text: a made-up one is drawn anew."""
        return self.path is None

    def load(self) -> tuple[Split, Split]:
        """Cut the text into windows."""
        cut = len(self.numbers) - len(self.numbers) // 10
        return self._windows(self.numbers[:cut]), self._windows(self.numbers[cut:])

    def _windows(self, numbers: Int64[Tensor, " length"]) -> Split:
        """Return every window, which share one memory, and what follows it; float32 holds such numbers exactly."""
        context = self.input_shape[0]
        return Split(numbers.float()[:-1].unfold(0, context, 1), numbers[context:])

    def _read(self) -> str:
        try:
            return Path(str(self.path)).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"path {self.path} cannot be read as text in UTF-8: {error}") from None

    def _check_text(self) -> None:
        context = self.input_shape[0]
        if len(self.text) < 20 * context:
            raise DatasetError(f"path {self.path} must hold at least {20 * context} characters, got {len(self.text)}")
        if not 3 <= self.num_classes <= _MOST_KINDS:
            raise DatasetError(f"path {self.path} must hold 3 to 256 different characters, got {self.num_classes}")


def _make_text(length: int, *, seed: int) -> str:
    """Draw words by Zipf's law from as many that are drawn before, with a space between each two."""
    sizes = (2 + 7 * rng.uniform(seed, Stream.TRAIN_DATA, 0, torch.arange(_WORDS))).long().tolist()
    letters = (26 * rng.uniform(seed, Stream.TRAIN_DATA, 1, torch.arange(_WORDS * 8)).square()).long().view(_WORDS, 8)
    words = ["".join(_LETTERS[i] for i in row[:size]) for row, size in zip(letters.tolist(), sizes, strict=True)]
    shares = 1 / np.arange(1, _WORDS + 1)
    position = rng.uniform(seed, Stream.TRAIN_DATA, 2, torch.arange(length // 3 + 1)).numpy()
    drawn = np.searchsorted(np.cumsum(shares / shares.sum())[:-1], position, side="right")
    return " ".join(words[number] for number in drawn)[:length]
