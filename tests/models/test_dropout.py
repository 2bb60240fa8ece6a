import pytest
import torch

from noisereg import rng
from noisereg.models import MLP
from noisereg.models.dropout import Dropout


def test_units_are_dropped_with_their_probability_and_the_others_scaled():
    layer = Dropout(0.3, seed=1)
    out = layer(torch.ones(100, 200))
    assert out.unique().tolist() == pytest.approx([0, 1 / 0.7])
    share = (out == 0).double().mean().item()
    assert share == pytest.approx(0.3, abs=5 * (0.3 * 0.7 / 20_000) ** 0.5)  # five standard errors


def test_each_call_and_seed_has_another_mask_and_a_restart_goes_on():
    layer, ones = Dropout(0.5, seed=1), torch.ones(3, 40)
    first, second = layer(ones), layer(ones)
    assert not torch.equal(first, second)
    assert not torch.equal(Dropout(0.5, seed=2)(ones), first)
    again = Dropout(0.5, seed=1)
    assert torch.equal(again(ones), first)
    restored = Dropout(0.5)
    restored.load_state_dict(again.state_dict())
    assert torch.equal(restored(ones), second)


def test_outside_training_nothing_is_dropped_and_no_call_is_counted():
    layer = Dropout(0.5).eval()
    assert torch.equal(layer(torch.ones(2, 3)), torch.ones(2, 3))
    assert layer.calls.item() == 0


def test_the_draws_are_those_of_the_named_generator():
    layer = Dropout(0.5, seed=9)
    layer.calls += 4
    expected = rng.uniform(9, rng.Stream.DROPOUT, 4, torch.arange(6)) >= 0.5
    assert torch.equal(layer(torch.ones(2, 3)).flatten() > 0, expected)


def test_the_layers_of_a_network_have_masks_of_their_own():
    network = MLP((2,), 1, hidden=[5, 5], dropout=0.5, seed=0)
    assert [name for name, _ in network.named_children() if "dropout" in name] == ["dropout1", "dropout2"]
    assert network.dropout1.seed != network.dropout2.seed
    assert "dropout1" not in dict(MLP((2,), 1, hidden=5).named_children())


def test_a_probability_out_of_range_is_an_error():
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), got 1"):
        MLP((2,), 1, hidden=5, dropout=1.0)
    with pytest.raises(ValueError, match=r"p must be in \[0, 1\), got -0.1"):
        Dropout(-0.1)
