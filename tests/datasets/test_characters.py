import math
from collections import Counter
from itertools import pairwise

import pytest
import torch

from noisereg.datasets import Characters, DatasetError

TEXT = "abracadabra, " * 40


@pytest.fixture
def file(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path / "text.txt"


def test_each_window_is_labelled_by_the_character_that_follows_it(file):
    data = Characters(file, context=5)
    data.setup()
    assert data.characters == " ,abcdr" and data.num_classes == 7
    cut = len(TEXT) - len(TEXT) // 10
    for split, text in (("train", TEXT[:cut]), ("test", TEXT[cut:])):
        inputs, labels = data.splits[split].inputs, data.splits[split].labels
        assert len(labels) == len(text) - 5
        for n in (0, 7, len(labels) - 1):
            assert "".join(data.characters[int(i)] for i in inputs[n]) + data.characters[labels[n]] == text[n : n + 6]


def test_the_entropy_of_a_pair_is_that_of_a_count_by_hand(file):
    pairs, firsts = Counter(pairwise(TEXT)), Counter(TEXT[:-1])
    expected = -sum(n / (len(TEXT) - 1) * math.log(n / firsts[first]) for (first, _), n in pairs.items())
    assert Characters(file, context=5).bigram_entropy == pytest.approx(expected)


def test_a_made_up_text_is_a_function_of_the_seed_and_longer_ones_begin_with_shorter_ones():
    short, long, other = Characters(length=700), Characters(length=5000), Characters(length=700, seed=1)
    assert len(short.text) == 700 and long.text.startswith(short.text) and other.text != short.text
    assert all(1 <= len(word) <= 8 for word in long.text.split(" "))


def test_windows_share_one_memory():
    data = Characters(length=5000)
    data.setup()
    inputs = data.splits["train"].inputs
    assert inputs.untyped_storage().nbytes() < 5 * 5000
    batch = next(iter(data.train_dataloader()))
    assert torch.equal(batch["input"], inputs[batch["index"]])


def test_what_tells_a_text_is_its_characters_and_not_its_place(file, tmp_path):
    (tmp_path / "copy.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "other.txt").write_text(TEXT.replace("d", "b"), encoding="utf-8")
    prints = [Characters(tmp_path / name, context=5).fingerprint() for name in ("text.txt", "copy.txt", "other.txt")]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as text in UTF-8"),
        (b"\xff\xfe" * 500, "cannot be read as text in UTF-8"),
        (b"short", "must hold at least 100 characters, got 5"),
        (b"ab" * 500, "must hold 3 to 256 different characters, got 2"),
    ],
)
def test_a_file_that_is_no_such_text_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        Characters(tmp_path / "text.txt", context=5)


def test_a_made_up_text_without_a_window_is_refused():
    with pytest.raises(ValueError, match="length must be at least 20 times context=32, got 100"):
        Characters(length=100)
    assert torch.is_tensor(Characters(length=1000).numbers)
