"""Counts against hand counts: every activation, in every way that it is called, in every kind of network."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch._dynamo.testing import CompileCounter
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from noisereg import ActivationSparsity
from noisereg.metrics import ActivationCounter


def _erf(x):
    return np.vectorize(math.erf)(x)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _relu(x):
    return np.maximum(x, 0)


def _relu_times_itself(x):
    y = functional.relu(x)
    return y * y


# of each: the formula, and the ways in which torch computes it
RELU = {
    "nn.ReLU": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "F.relu": functional.relu,
    "F.relu in place": lambda x: functional.relu(x, inplace=True),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
    "aten": torch.ops.aten.relu.default,
    "nn.Threshold": nn.Threshold(0, 0),
    "F.threshold": lambda x: functional.threshold(x, value=0, threshold=0),
}
TABLE = {
    "relu": (_relu, RELU),
    "relu6": (
        lambda x: np.clip(x, 0, 6),
        {
            "nn": nn.ReLU6(),
            "F": functional.relu6,
            "nn.Hardtanh": nn.Hardtanh(0, 6),
            "F.hardtanh": lambda x: functional.hardtanh(x, max_val=6, min_val=0),
            "aten": lambda x: torch.ops.aten.hardtanh_.default(x, 0, 6),  # as exported
        },
    ),
    "leaky": (
        lambda x: np.where(x > 0, x, 0.01 * x),
        {"nn": nn.LeakyReLU(), "F": functional.leaky_relu, "aten": torch.ops.aten.leaky_relu_.default},
    ),
    "gelu": (lambda x: x * (1 + _erf(x / 2**0.5)) / 2, {"nn": nn.GELU(), "F": functional.gelu}),
    "silu": (
        lambda x: x * _sigmoid(x),
        {
            "nn": nn.SiLU(),
            "F": functional.silu,
            "in place": nn.SiLU(inplace=True),
            "aten": torch.ops.aten.silu_.default,
        },
    ),
    "relu squared": (
        lambda x: _relu(x) ** 2,
        {
            "**": lambda x: functional.relu(x) ** 2,
            "square": lambda x: x.relu().square(),
            "torch.pow": lambda x: torch.pow(torch.relu(x), 2),
            "product": _relu_times_itself,
        },
    ),
    "softplus": (lambda x: np.log1p(np.exp(x)), {"nn": nn.Softplus(), "F": functional.softplus}),
    "hardswish": (
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        {
            "nn": nn.Hardswish(),
            "F": functional.hardswish,
            "in place": lambda x: functional.hardswish(x, inplace=True),
            "aten": torch.ops.aten.hardswish,
        },
    ),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), {"nn": nn.ELU(), "F": functional.elu}),
    "mish": (lambda x: x * np.tanh(np.log1p(np.exp(x))), {"nn": nn.Mish(), "F": functional.mish}),
}
WAYS = [(name, way) for name, (_, ways) in TABLE.items() for way in ways]


class Holder(nn.Module):
    """Calls a function of torch, as the classes of libraries do."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, inputs):
        return self.function(inputs)


class Around(nn.Module):
    """A layer with weights, an activation, and another layer, in the layout that a kind of network has."""

    def __init__(self, kind, act):
        super().__init__()
        self.kind, self.act = kind, act
        self.first = nn.Conv2d(3, 5, 3, padding=1) if kind == "images" else nn.Linear(4, 5)
        self.second = nn.Conv2d(5, 2, 1) if kind == "images" else nn.Linear(5, 2)

    def forward(self, inputs):
        inputs = inputs.flatten(0, 1) if self.kind == "flat tokens" else inputs
        return self.second(self.act(self.first(inputs)))


SHAPES = {"vectors": (50, 4), "images": (20, 3, 6, 6), "tokens": (6, 7, 4), "flat tokens": (6, 7, 4)}


ALL = [(*way, kind, None) for way in WAYS for kind in SHAPES]
ALL += [
    (name, next(iter(ways)), kind, threshold)
    for name, (_, ways) in TABLE.items()
    for kind in ("images", "tokens")
    for threshold in (0.1, "0.2 of largest", "0.3 of rms")
]


@pytest.mark.parametrize(("name", "way", "kind", "threshold"), ALL)
def test_every_activation_is_counted_as_by_hand(name, way, kind, threshold):
    formula, ways = TABLE[name]
    torch.manual_seed(0)
    net, inputs = Around(kind, ways[way]), torch.randn(SHAPES[kind])
    with torch.no_grad():
        outputs = formula(net.first(inputs).double().numpy())
        with ActivationCounter(net, threshold=threshold) as counter:
            plain = net(inputs)
    units = (len(inputs), -1) if kind == "images" else (-1, 5)
    outputs = outputs.reshape(units)
    limits = {
        None: 0,
        0.1: 0.1,
        "0.2 of largest": 0.2 * np.abs(outputs).max(1, keepdims=True),
        "0.3 of rms": 0.3 * np.sqrt((outputs**2).mean(1, keepdims=True)),
    }[threshold]
    (metric,) = counter.metrics.values()
    assert metric.fires.tolist() == [(outputs > limits).sum(0).tolist()]
    assert metric.samples.tolist() == [len(outputs)]
    with torch.no_grad():
        assert torch.equal(net(inputs), plain)


def _hand_table():
    """Return the lines of the table of the documentation: active outputs of all, by hand; every way gives the same."""
    lines = ["| activation | called as | " + " | ".join(SHAPES) + " |", "|---|---|" + "---|" * len(SHAPES)]
    for name, (formula, ways) in TABLE.items():
        found = []
        for kind, shape in SHAPES.items():
            torch.manual_seed(0)
            net, inputs = Around(kind, next(iter(ways.values()))), torch.randn(shape)
            with torch.no_grad():
                outputs = formula(net.first(inputs).double().numpy())
            found.append(f"{(outputs > 0).sum():,} of {outputs.size:,}")
        lines.append(f"| {name} | {', '.join(ways)} | {' | '.join(found)} |")
    return lines


def test_the_table_of_the_documentation_is_that_of_the_hand_counts():
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
    assert "\n".join(_hand_table()) in page


@pytest.mark.parametrize("kind", ["images", "tokens"])
@pytest.mark.parametrize("name", TABLE)
def test_a_class_of_a_library_is_one_layer_by_its_name(name, kind):
    formula, ways = TABLE[name]
    for way, function in ways.items():
        torch.manual_seed(0)
        net, inputs = Around(kind, Holder(function)), torch.randn(SHAPES[kind])
        if isinstance(function, nn.Module):
            continue
        with torch.no_grad(), ActivationCounter(net) as counter:
            net(inputs)
            outputs = formula(net.first(inputs).double().numpy())
        assert list(counter.metrics) == ["act"], way
        units = (len(inputs), -1) if kind == "images" else (-1, 5)
        assert counter.metrics["act"].fires.tolist() == [(outputs.reshape(units) > 0).sum(0).tolist()], way


class Gated(nn.Module):
    """A gated layer, as those of language models: the product of a gate and of what it lets through."""

    def __init__(self, act, order):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 2)
        self.act, self.order = act, order

    def forward(self, inputs):
        if self.order == "gate first":
            return self.down(self.act(self.gate(inputs)) * self.up(inputs))
        if self.order == "gate last":
            return self.down(self.up(inputs) * self.act(self.gate(inputs)))
        if self.order == "named":
            gate = self.act(self.gate(inputs))
            assert gate.shape[-1] == 6  # asking for a shape uses nothing
            return self.down(torch.mul(self.up(inputs), gate.to(torch.float32)))
        if self.order == "in place":
            return self.down(self.act(self.gate(inputs)).mul_(self.up(inputs)))
        first, second = torch.cat([self.gate(inputs), self.up(inputs)], -1).chunk(2, -1)
        return self.down(second * self.act(first))


@pytest.mark.parametrize("order", ["gate first", "gate last", "named", "in place", "chunks"])
@pytest.mark.parametrize("name", ["silu", "gelu", "relu", "relu squared"])
def test_a_gated_layer_is_counted_after_the_gate(name, order):
    formula, ways = TABLE[name]
    for way, act in list(ways.items())[:4]:
        torch.manual_seed(0)
        net, inputs = Gated(act, order), torch.randn(6, 7, 4)
        with torch.no_grad():
            gate, up = (layer(inputs).double().numpy().reshape(-1, 6) for layer in (net.gate, net.up))
            product = formula(gate) * up
            with ActivationCounter(net) as counter, ActivationCounter(net, threshold=0.1, magnitude=True) as large:
                net(inputs)
                net(inputs)
        (metric,) = counter.metrics.values()
        assert metric.fires.tolist() == [(2 * (product > 0).sum(0)).tolist()], way
        assert metric.samples.tolist() == [2 * len(product)]
        (metric,) = large.metrics.values()
        assert metric.fires.tolist() == [(2 * (np.abs(product) > 0.1).sum(0)).tolist()], way


def test_what_is_scaled_or_masked_or_used_before_is_no_gate():
    class Squeeze(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)

        def forward(self, inputs):
            hidden = functional.relu(self.conv(inputs))
            gate = torch.tanh(self.fc(functional.adaptive_avg_pool2d(hidden, 1)))
            return hidden * gate

    torch.manual_seed(0)
    net, inputs = Squeeze(), torch.randn(9, 3, 3, 3)  # one position is left, so that the gate has the shape of all
    with torch.no_grad(), ActivationCounter(net) as counter:
        net(inputs)
        active = net.conv(inputs) > 0
    assert list(counter.metrics) == ["relu"]
    assert counter.metrics["relu"].fires.tolist() == [active.flatten(1).sum(0).tolist()]


@pytest.mark.parametrize("size", [1, 4, 9])
def test_a_weight_of_each_feature_is_no_gate_of_a_batch_of_one_sample(size):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.scale = nn.Linear(3, 6), nn.Parameter(torch.linspace(-1, 1, 6))

        def forward(self, inputs):
            return functional.relu(self.fc(inputs)) * self.scale[None]

    torch.manual_seed(0)
    net, inputs = Scaled(), torch.randn(9, 3)
    with torch.no_grad(), ActivationCounter(net) as counter:
        for part in inputs.split(size):
            net(part)
        active = net.fc(inputs) > 0
    assert counter.metrics["relu"].fires.tolist() == [active.sum(0).tolist()]


@pytest.mark.parametrize("act", [nn.Hardtanh(), nn.Hardtanh(-2, 6), nn.Threshold(-1, 0), nn.Threshold(0, 1), nn.GLU()])
def test_what_is_not_0_on_one_side_is_counted_where_it_is_named(act):
    torch.manual_seed(0)
    net, inputs = nn.Sequential(nn.Linear(3, 6), act), torch.randn(9, 3)
    with pytest.raises(ValueError, match=rf"but 1 {type(act).__name__}; .* layers=\['1'\]"), ActivationCounter(net):
        net(inputs)
    with torch.no_grad(), ActivationCounter(net, layers=["1"]) as counter:
        outputs = net(inputs)
    assert counter.metrics["1"].fires.tolist() == [(outputs > 0).sum(0).tolist()]


def _before_activation(layer, inputs, padding=None):
    """Compute what the activation of a layer of torch's takes, part by part."""
    attended = layer.self_attn(inputs, inputs, inputs, key_padding_mask=padding, need_weights=False)[0]
    return layer.linear1(layer.norm1(inputs + attended))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("act", ["relu", "gelu", nn.GELU(), nn.ReLU(), torch.relu, functional.silu])
def test_torch_s_own_transformer_is_counted_also_where_it_would_be_fused(act, batch_first, training):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, activation=act, batch_first=batch_first)
    net = nn.TransformerEncoder(layer, 2).train(training)
    tokens = torch.randn((5, 7, 8) if batch_first else (7, 5, 8))
    padding = torch.zeros(5, 7, dtype=torch.bool)
    padding[2, 4:] = True
    with torch.no_grad():
        with ActivationCounter(net) as counter:
            counter.start_batch(mask=~padding)
            net(tokens, src_key_padding_mask=padding)
        before = _before_activation(net.layers[0], tokens, padding)
    kept = before.transpose(0, 1)[~padding] if not batch_first else before[~padding]
    assert len(counter.metrics) == 2
    assert counter.metrics[next(iter(counter.metrics))].fires.tolist() == [(kept > 0).sum(0).tolist()]
    assert next(iter(counter.metrics)).startswith("layers.0.")


class XIELU(nn.Module):
    """An activation with weights, of one number each: as transformers has it."""

    def __init__(self):
        super().__init__()
        self.slope, self.curve = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, inputs):
        slope, curve = functional.softplus(self.slope), functional.softplus(input=self.curve)
        below = torch.expm1(inputs.clamp(max=0)) - inputs.clamp(max=0)
        return torch.where(inputs > 0, curve * inputs.square(), slope * below) + inputs / 2


class Positions(nn.Module):
    """Has a bias of positions made by a small network of its own, as some transformers, and a state."""

    def __init__(self):
        super().__init__()
        split = Holder(lambda x: functional.relu(x.chunk(2, -1)[0]) * 1.0)
        self.bias = nn.Sequential(nn.Linear(1, 6), nn.ReLU(), split, nn.Linear(3, 5))
        self.fc, self.act, self.scale = nn.Linear(4, 5), nn.GELU(), nn.Parameter(torch.zeros(5))
        self.register_buffer("places", torch.arange(7.0)[:, None])
        self.register_buffer("state", torch.zeros(6, 7, 5))

    def forward(self, inputs, keep=False):
        hidden = self.fc(inputs) * functional.softplus(2 * self.scale) + self.bias(self.places)
        if not keep:
            return self.act(hidden)
        self.state.copy_(hidden)
        return self.act(functional.leaky_relu(self.state))


@pytest.mark.parametrize("inference", [False, True])
def test_what_a_network_makes_of_its_weights_and_buffers_alone_is_no_layer(inference):
    torch.manual_seed(0)
    net, inputs = Positions(), torch.randn(6, 7, 4)
    with torch.inference_mode(inference), torch.no_grad(), ActivationCounter(net, num_classes=3) as counter:
        counter.start_batch(torch.arange(6) % 3)
        outputs = net(inputs)
    assert list(counter.metrics) == ["act"]
    assert counter.metrics["act"].fires.sum(0).tolist() == (outputs > 0).sum((0, 1)).tolist()
    with torch.no_grad(), ActivationCounter(net) as counter:
        net(inputs, keep=True)
    assert sorted(counter.metrics) == ["act", "leaky_relu"]  # the state is made of the inputs


def test_what_a_function_makes_of_weights_is_no_layer():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.scale, self.act = nn.Linear(4, 5), nn.Parameter(torch.ones(5)), XIELU()

        def forward(self, inputs):
            return self.act(functional.relu(self.scale) * self.fc(inputs))

    torch.manual_seed(0)
    net, inputs = Scaled(), torch.randn(9, 4)
    with torch.no_grad(), ActivationCounter(net) as counter:
        outputs = net(inputs)
    assert list(counter.metrics) == ["act"]
    assert counter.metrics["act"].fires.tolist() == [(outputs > 0).sum(0).tolist()]


def test_functions_are_named_by_the_module_that_calls_them():
    class Part(nn.Module):
        def forward(self, inputs):
            return functional.relu(functional.relu(inputs) - 1)

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.ModuleDict({"fc": nn.Linear(3, 4), "part": nn.Sequential(nn.Linear(4, 4), Part())})

        def forward(self, inputs):
            return torch.relu(self.model["part"](self.model["fc"](inputs)))

    net = Whole()
    with ActivationCounter(net) as counter:
        net(torch.randn(5, 3))
    # the class is an activation by itself; what it calls is not counted once more
    assert list(counter.metrics) == ["part.1", "relu"]
    net.model["part"][1].weight = nn.Parameter(torch.ones(2))  # now it is none
    with ActivationCounter(net) as counter:
        net(torch.randn(5, 3))
    assert list(counter.metrics) == ["part.1.relu", "part.1.relu:2", "relu"]


class Mixed(nn.Module):
    """ReLUs and others, as modules and functions."""

    def __init__(self):
        super().__init__()
        self.fc, self.a, self.b = nn.Linear(3, 4), nn.ReLU(), nn.GELU()

    def forward(self, inputs):
        hidden = functional.silu(self.b(functional.relu(self.a(self.fc(inputs)))))
        return torch.tanh(hidden)


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        (None, ["a", "relu"]),
        (["*"], ["a", "relu"]),
        (["relu"], ["relu"]),
        (["[ab]"], ["a"]),
        (["b", "silu"], ["b", "silu"]),
        (["fc", "a"], ["fc", "a"]),
        (["tanh"], ["tanh"]),
        (["s*", "fc"], ["fc", "silu"]),
    ],
)
def test_patterns_choose_among_relus_then_others_then_one_module(layers, found):
    net = Mixed()
    with ActivationCounter(net, layers=layers) as counter:
        for _ in range(2):
            net(torch.randn(5, 3))
    assert list(counter.metrics) == found
    assert {int(metric.samples) for metric in counter.metrics.values()} == {10}


def test_a_network_without_relus_is_measured_by_what_is_small_on_one_side():
    net = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Tanh(), nn.Linear(4, 4), Holder(functional.silu))
    with ActivationCounter(net) as counter:
        net(torch.randn(5, 3))
    assert list(counter.metrics) == ["1", "4"]


def test_a_pattern_that_nothing_can_match_is_refused_at_once_and_one_that_nothing_did_match_at_the_end():
    with pytest.raises(ValueError, match=r"layers must match names of ReLUs, got 'rely\*'; there are: a$"):
        ActivationCounter(Mixed(), layers=["rely*"])
    net = Mixed()
    with (
        pytest.raises(ValueError, match="layers must match names of activations, got 'gelu'; there are: a, relu, b, "),
        ActivationCounter(net, layers=["gelu"]),
    ):
        net(torch.randn(5, 3))


def test_nothing_found_is_an_error_that_says_why():
    net = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid())
    with (
        pytest.raises(ValueError, match="Sequential has called no activation that is known"),
        ActivationSparsity.watching(net),
    ):
        net(torch.randn(5, 3))
    with (
        pytest.raises(ValueError, match="Sequential was not called, so nothing was counted"),
        ActivationSparsity.watching(net),
    ):
        pass
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    with (
        pytest.raises(ValueError, match=r"no activation that is near 0 on one side, but 1 Tanh; .* layers=\['1'\]"),
        ActivationSparsity.watching(net),
    ):
        net(torch.randn(5, 3))
    with ActivationSparsity.watching(net, required=False) as counts:
        net(torch.randn(5, 3))
    with pytest.raises(ValueError, match="no activation that is near 0"):
        counts.compute()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("compile_part", [torch.jit.script, lambda part: torch.jit.trace(part, torch.randn(5, 3))])
def test_a_part_whose_calls_cannot_be_seen_is_an_error_unless_others_are_chosen(compile_part):
    first = compile_part(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))
    net = nn.Sequential(first, nn.Linear(4, 2), nn.ReLU())
    with pytest.raises(ValueError, match=r"got '0', which torch\.jit has compiled: give the network"):
        ActivationCounter(net)
    with ActivationCounter(net, layers=["2"]) as counter:
        net(torch.randn(5, 3))
    assert list(counter.metrics) == ["2"]


def test_the_error_of_the_network_is_not_covered_by_that_of_the_count():
    net = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), ActivationSparsity.watching(net):
        net(torch.randn(5, 4))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"layers": "relu"}, "layers must be a list of patterns, got the string 'relu'"),
        ({"units": "channels"}, "units must be one of features, positions, or None, got 'channels'"),
        ({"threshold": -0.1}, "threshold must be finite and at least 0, got -0.1"),
        ({"threshold": math.nan}, "threshold must be finite and at least 0, got nan"),
        ({"threshold": "0.1 of mean"}, "threshold must be relative to 'largest' or 'rms', or to nothing, got 'mean'"),
        ({"threshold": "small"}, "threshold must be a number, or a text as '0.1 of rms'.*, got 'small'"),
        ({"threshold": True}, "threshold must be a number, or a text as '0.1 of rms'.*, got True"),
    ],
)
def test_arguments_out_of_range_are_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ActivationCounter(nn.ReLU(), **kwargs)


def test_the_names_of_metrics_say_which_threshold_they_have():
    net = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 4), nn.GELU())
    with ActivationSparsity.watching(net, threshold="0.1 of rms", num_classes=2) as counts:
        counts.start_batch(torch.tensor([0, 1, 1]))
        net(torch.randn(3, 3))
    values = counts.compute()
    assert all("_above_0.1_of_rms" in key for key in values)
    assert {"active_fraction_above_0.1_of_rms", "dead_fraction_above_0.1_of_rms/1"} <= values.keys()
    alone = ActivationSparsity(threshold=0.5)
    alone.update(torch.tensor([[0.4, 0.6]]))
    assert alone.compute()["active_fraction_above_0.5"] == 0.5


# Sequences


def _tokens(shape):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    return net, torch.randn(shape)


def test_batches_of_several_lengths_are_counted_as_tokens():
    net, _ = _tokens(())
    batches = [torch.randn(3, length, 4) for length in (2, 7, 1)]
    with torch.no_grad(), ActivationCounter(net) as counter:
        for batch in batches:
            net(batch)
        active = torch.cat([net[0](batch).flatten(0, 1) > 0 for batch in batches])
    assert counter.metrics["1"].fires.tolist() == [active.sum(0).tolist()]
    assert counter.metrics["1"].samples.tolist() == [30]
    assert counter.metrics["1"].unit_shape.tolist() == [5]


def test_units_are_positions_on_demand():
    net, inputs = _tokens((3, 7, 4))
    with torch.no_grad(), ActivationCounter(net, units="positions") as counter:
        net(inputs)
        active = net[0](inputs) > 0
    assert counter.metrics["1"].unit_shape.tolist() == [7, 5]
    assert counter.metrics["1"].fires.tolist() == [active.flatten(1).sum(0).tolist()]
    with torch.no_grad(), ActivationCounter(net, units="positions", batch_first=False) as counter:
        net(inputs)
    assert counter.metrics["1"].fires.tolist() == [active.sum(1).flatten().tolist()]


def test_units_of_a_convolution_are_its_positions_or_on_demand_its_channels():
    torch.manual_seed(0)
    for conv, inputs in ((nn.Conv1d(3, 4, 3), torch.randn(5, 3, 9)), (nn.Conv2d(3, 4, 3), torch.randn(5, 3, 6, 6))):
        net = nn.Sequential(conv, nn.MaxPool1d(2) if inputs.ndim == 3 else nn.BatchNorm2d(4), nn.ReLU()).eval()
        with torch.no_grad(), ActivationCounter(net) as plain, ActivationCounter(net, units="features") as channels:
            net(inputs)
            active = net[:2](inputs) > 0
        assert plain.metrics["2"].unit_shape.tolist() == list(active.shape[1:])
        assert plain.metrics["2"].fires.tolist() == [active.flatten(1).sum(0).tolist()]
        assert channels.metrics["2"].fires.tolist() == [active.flatten(2).sum((0, 2)).tolist()]


def test_channels_that_come_last_are_features_and_a_linear_layer_beside_images_changes_nothing():
    class Swapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.wide, self.narrow = nn.Conv2d(3, 4, 3), nn.Linear(4, 6), nn.Linear(4, 4)
            self.first, self.last = nn.ReLU(), nn.ReLU()

        def forward(self, inputs):
            hidden = self.conv(inputs)
            scale = self.narrow(hidden.mean((2, 3)))
            hidden = self.first(hidden + scale[:, :, None, None])
            return self.last(self.wide(hidden.permute(0, 2, 3, 1)))

    torch.manual_seed(0)
    net, inputs = Swapped(), torch.randn(5, 3, 6, 6)
    with torch.no_grad(), ActivationCounter(net) as counter:
        outputs = net(inputs)
    assert counter.metrics["first"].unit_shape.tolist() == [4, 4, 4]
    assert counter.metrics["last"].fires.tolist() == [(outputs > 0).sum((0, 1, 2)).tolist()]
    assert counter.metrics["first"].has_channels and not counter.metrics["last"].has_channels


def _by_class(active, labels, num_classes=3):
    return [active[labels == label].sum(0).tolist() for label in range(num_classes)]


@pytest.mark.parametrize("layout", ["batch first", "flat", "tokens first", "tokens first, named"])
@pytest.mark.parametrize("size", [3, 7])  # with 7 there are as many samples as tokens
def test_labels_of_samples_go_with_all_their_tokens(layout, size):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.attention = nn.Linear(4, 5), nn.MultiheadAttention(4, 1, batch_first=layout != "tokens first")

        def forward(self, inputs):
            return functional.relu(self.fc(inputs.flatten(0, 1) if layout == "flat" else inputs))

    torch.manual_seed(0)
    net, inputs, labels = Net(), torch.randn(size, 7, 4), torch.arange(size) % 3
    given = inputs.transpose(0, 1) if layout.startswith("tokens") else inputs
    named = False if "named" in layout else None
    with torch.no_grad(), ActivationCounter(net, num_classes=3, batch_first=named) as counter:
        counter.start_batch(labels)
        net(given)
        active = net.fc(inputs) > 0
    expected = _by_class(active.flatten(0, 1), labels[:, None].expand(size, 7).flatten())
    assert counter.metrics["relu"].fires.tolist() == expected
    assert counter.metrics["relu"].samples.tolist() == (7 * labels.bincount()).tolist()


@pytest.mark.parametrize("layout", ["batch first", "flat", "tokens first"])
def test_labels_of_tokens_and_what_is_ignored(layout):
    net, inputs = _tokens((4, 6, 4))
    labels = torch.arange(24).view(4, 6) % 3
    labels[1, 2:] = -100
    named = False if layout == "tokens first" else None
    given = {"flat": inputs.flatten(0, 1), "tokens first": inputs.transpose(0, 1)}.get(layout, inputs)
    with torch.no_grad():
        active = (net[0](inputs) > 0).flatten(0, 1)
        for num_classes in (3, None):
            with ActivationCounter(net, num_classes=num_classes, batch_first=named) as counter:
                counter.start_batch(labels.T if layout == "tokens first" else labels)
                net(given)
            found = counter.metrics["1"].fires
            assert found.sum(0).tolist() == active[labels.flatten() >= 0].sum(0).tolist()
            assert num_classes is None or found.tolist() == _by_class(active, labels.flatten())


def test_padding_is_left_out_in_every_layout():
    net, inputs = _tokens((4, 6, 4))
    lengths = torch.tensor([6, 2, 3, 5])
    mask, labels = torch.arange(6) < lengths[:, None], torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        active = net[0](inputs)[mask] > 0
        expected = _by_class(active, labels.repeat_interleave(lengths))
        for given in (inputs, inputs.flatten(0, 1), inputs[mask]):  # the last has none
            for kind in (mask, mask.long()):
                with ActivationCounter(net, num_classes=3) as counter, ActivationCounter(net) as plain:
                    counter.start_batch(labels, mask=kind)
                    plain.start_batch(labels, mask=kind)
                    net(given)
                assert counter.metrics["1"].fires.tolist() == expected
                assert plain.metrics["1"].fires.tolist() == [np.sum(expected, 0).tolist()]
        with ActivationCounter(net, num_classes=3, batch_first=False) as counter:
            counter.start_batch(labels, mask=mask)
            net(inputs.transpose(0, 1))
        assert counter.metrics["1"].fires.tolist() == expected


class Experts(nn.Module):
    """Sends each token to the two experts that a router chooses, in an order of its own, and adds up what they make."""

    def __init__(self, how):
        super().__init__()
        self.router, self.ups = nn.Linear(4, 3), nn.ModuleList(nn.Linear(4, 5) for _ in range(3))
        self.down, self.act, self.how = nn.Linear(5, 4), nn.SiLU(), how

    def forward(self, inputs):
        tokens = inputs.flatten(0, 1)
        chosen = self.router(tokens).topk(2).indices
        experts, order = chosen.flatten().sort()
        owners = order // 2
        if self.how == "one by one":
            rows = [self.act(self.ups[k](tokens[owners[experts == k]]).chunk(1, -1)[0]) for k in range(3)]
            hidden = torch.cat(rows)
        else:
            picked = tokens.index_select(0, owners) if self.how == "index_select" else tokens[owners]
            weights = torch.stack([part.weight for part in self.ups])[experts]
            hidden = self.act(torch.bmm(weights, picked[..., None])[..., 0])
        return torch.zeros_like(tokens).index_add_(0, owners, self.down(hidden)).view_as(inputs)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("how", ["one by one", "index_select", "sorted"])
def test_tokens_that_go_to_experts_keep_their_labels_and_their_mask(how, masked):
    torch.manual_seed(0)
    net, inputs, labels = Experts(how), torch.randn(6, 7, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    mask = torch.rand(6, 7) < 0.6 if masked else torch.ones(6, 7, dtype=torch.bool)
    for part in net.ups:
        nn.init.zeros_(part.bias)
    expected = torch.zeros(3, 5, dtype=torch.int64)
    with torch.no_grad():
        for sample, token in mask.nonzero().tolist():
            for expert in net.router(inputs[sample, token]).topk(2).indices.tolist():
                expected[labels[sample]] += net.ups[expert](inputs[sample, token]) > 0
        with ActivationCounter(net, num_classes=3) as counter, ActivationCounter(net) as plain:
            for part in (counter, plain):
                part.start_batch(labels, mask=mask if masked else None)
            net(inputs)
    assert sum(metric.fires for metric in counter.metrics.values()).tolist() == expected.tolist()
    assert sum(metric.fires for metric in plain.metrics.values()).tolist() == [expected.sum(0).tolist()]
    assert len(counter.metrics) == (3 if how == "one by one" else 1)


def test_rows_that_are_picked_shuffled_and_put_back_keep_their_labels():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc, self.last = nn.Conv1d(3, 4, 1), nn.Linear(3, 5), nn.Linear(5, 5)
            self.table = nn.Parameter(torch.randn(8, 5))

        def forward(self, inputs, mask, order):
            picked = functional.relu(self.fc(inputs.transpose(1, 2)[mask]))  # no padding, and no mask is given
            shuffled = functional.relu(self.conv(inputs[order]))
            back = functional.relu(shuffled.mean(2)[order.argsort()])
            by_weights = functional.relu(self.table[order] - 0.5)
            return picked, shuffled, back, by_weights

    torch.manual_seed(0)
    net, inputs, mask = Net(), torch.randn(6, 3, 7), torch.rand(6, 7) < 0.5
    labels, order = torch.tensor([0, 1, 1, 0, 1, 1]), torch.tensor([3, 1, 5, 0, 4, 2])
    with torch.no_grad(), ActivationCounter(net, num_classes=2) as counter:
        counter.start_batch(labels)
        outputs = net(inputs, mask, order)
    owners = (labels.repeat_interleave(mask.sum(1)), labels[order], labels, labels)
    for metric, output, own in zip(counter.metrics.values(), outputs, owners, strict=True):
        wanted = [(output[own == k] > 0).sum(0).flatten().tolist() for k in range(2)]
        assert metric.fires.tolist() == wanted


class Recurrent(nn.Module):
    """Has the tokens first, as its LSTM says, but not the layers behind it, which nothing says anything of."""

    def __init__(self, flat):
        super().__init__()
        self.parts, self.flat = nn.ModuleList([nn.LSTM(4, 4)]), flat
        self.head = nn.Sequential(nn.Linear(4, 5), nn.ReLU())

    def forward(self, inputs):
        hidden = self.parts[0](inputs)[0]
        return self.head(hidden.flatten(0, 1) if self.flat else hidden)


def _rows_by_hand(net, batches, size=2):
    """Count by class, (batch, tokens) after (batch, tokens), with the labels 0, 1, 0, ... of the samples."""
    with torch.no_grad():
        parts = [net.head(net.parts[0](batch)[0]).transpose(0, 1) > 0 for batch in batches]
    labels = [torch.arange(len(part)) % size for part in parts]
    return [sum(part[given == k].sum((0, 1)) for part, given in zip(parts, labels, strict=True)) for k in range(size)]


@pytest.mark.parametrize("masked", [False, True])
def test_as_many_samples_as_tokens_are_laid_out_as_in_the_batches_before(masked):
    torch.manual_seed(0)
    net, batches = Recurrent(flat=False), [torch.randn(6, 9, 4), torch.randn(6, 6, 4)]
    mask = torch.rand(6, 6) < 0.5
    with torch.no_grad(), ActivationCounter(net, num_classes=2) as counter:
        counter.start_batch(torch.arange(9) % 2)
        net(batches[0])
        counter.start_batch(torch.arange(6) % 2, mask=mask if masked else None)
        net(batches[1])
    wanted = _rows_by_hand(net, batches)
    if masked:
        with torch.no_grad():
            active = (net.head(net.parts[0](batches[1])[0]).transpose(0, 1) > 0) & ~mask[..., None]
        wanted = [part - active[k::2].sum((0, 1)) for k, part in enumerate(wanted)]
    assert counter.metrics["head.1"].fires.tolist() == [part.tolist() for part in wanted]


@pytest.mark.parametrize("flat", [False, True])
def test_rows_that_may_be_of_either_layout_are_an_error_that_says_how_to_name_it(flat):
    torch.manual_seed(0)
    net, batch = Recurrent(flat=False), torch.randn(6, 6, 4)
    wanted = _rows_by_hand(net, [batch])
    net.flat = flat
    with ActivationCounter(net, num_classes=2, required=False) as counter:
        counter.start_batch(torch.arange(6) % 2)
        with pytest.raises(
            ValueError, match=r"of 6 samples fit activations \(.*\) in two ways, .* batch_first=False if"
        ):
            net(batch)
    mask = torch.rand(6, 6) < 0.5
    with torch.no_grad():
        masked = ((net.head(net.parts[0](batch)[0]).view(6, 6, 5) > 0).transpose(0, 1) & mask[..., None]).sum((0, 1))
    with torch.no_grad(), ActivationCounter(net) as plain:  # without labels there is nothing to fit
        net(batch)
    with torch.no_grad(), ActivationCounter(net, num_classes=2, batch_first=False) as counter:
        counter.start_batch(torch.arange(6) % 2)
        net(batch)
    assert counter.metrics["head.1"].fires.tolist() == [part.tolist() for part in wanted]
    assert plain.metrics["head.1"].fires.tolist() == [sum(wanted).tolist()]
    with torch.no_grad(), ActivationCounter(net, batch_first=False) as counter:
        counter.start_batch(mask=mask)
        net(batch)
    assert counter.metrics["head.1"].fires.tolist() == [masked.tolist()]


def _count(net, inputs, labels=None, mask=None):
    with ActivationCounter(net, num_classes=2) as counter:
        counter.start_batch(labels, mask=mask)
        net(inputs)


def test_masks_and_labels_that_do_not_fit_are_errors():
    net, inputs = _tokens((4, 6, 4))
    cases = {
        r"mask must be one a token, \(batch, tokens\), got \(4, 5\)": {"mask": torch.ones(4, 5)},
        "mask must hold True or 1": {"mask": torch.full((4, 6), 0.5)},
        r"labels must be one a row of activations \(4, 6\), got \(4, 5\)": {"labels": torch.zeros(4, 5).long()},
        r"labels must have shape \(24,\), one a row of activations, got \(5,\)": {"labels": torch.zeros(5).long()},
    }
    for message, given in cases.items():
        labels, mask = given.get("labels", torch.zeros(4).long()), given.get("mask")
        with pytest.raises(ValueError, match=message):
            _count(net, inputs, labels, mask)
    square = nn.ModuleDict({"attention": nn.MultiheadAttention(4, 1), "layers": net})
    square.forward = square["layers"].forward
    with pytest.raises(ValueError, match=r"may be \(batch, tokens\) or"):
        _count(square, torch.randn(6, 6, 4), torch.zeros(6, 6).long())


# In a stranger's project


def _hand_count(net, inputs):
    with torch.no_grad():
        return [(net[0](inputs) > 0).sum(0).tolist()]


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_a_checkpoint_computes_again_is_not_counted_again(reentrant):
    class Checked(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), Holder(lambda x: functional.relu(x - 0.5)))

        def forward(self, inputs):
            return checkpoint(self.block, inputs, use_reentrant=reentrant)

    torch.manual_seed(0)
    net, inputs = Checked(), torch.randn(30, 4, requires_grad=True)
    with ActivationSparsity.watching(net) as counts:
        for batch in inputs.split(10):
            net(batch).sum().backward()
    assert counts.metrics["block.1"].fires.tolist() == _hand_count(net.block, inputs)
    assert {layer: int(metric.samples) for layer, metric in counts.metrics.items()} == {"block.1": 30, "block.2": 30}


def test_a_training_under_autocast_is_counted():
    net, inputs = _tokens((300, 4))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        active = sum((net[0](batch) > 0).sum(0) for batch in inputs.split(100))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    with ActivationSparsity.watching(net) as counts:
        for batch in inputs.split(100):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = net(batch).square().mean()
            loss.backward()
            optimizer.step()
    assert counts.metrics["1"].fires.tolist() == [active.tolist()]
    assert 0 < active.min() and active.max() < 300


def test_other_networks_and_losses_in_the_block_are_not_counted():
    net, inputs = _tokens((20, 4))
    teacher = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with ActivationSparsity.watching(net) as counts:
        functional.relu(net(inputs) - teacher(inputs)).sum().backward()
    assert list(counts.metrics) == ["1"]
    assert counts.metrics["1"].samples.tolist() == [20]


def test_two_blocks_within_one_another_count_alike():
    net, inputs = _tokens((20, 4))
    with ActivationSparsity.watching(net) as outer, ActivationSparsity.watching(net) as inner:
        net(inputs)
    assert torch.equal(outer.metrics["1"].fires, inner.metrics["1"].fires)


def test_a_network_that_is_wrapped_for_several_processes_has_its_own_names():
    net, inputs = _tokens((20, 4))
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(net)
        with ActivationSparsity.watching(wrapped) as counts:
            for batch in inputs.split(10):
                wrapped(batch).sum().backward()
        found = {layer: metric.fires.tolist() for layer, metric in counts.gathered().items()}
    finally:
        distributed.destroy_process_group()
    assert found == {"1": _hand_count(net, inputs)}


class Reuse(nn.Module):
    """Calls one in-place ReLU twice, as torchvision's ResNets do."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 6)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, inputs):
        return self.relu(self.second(self.relu(self.first(inputs))))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Reuse()


def _hooks(net):
    return sum(len(module._forward_hooks) for module in net.modules())


def test_each_call_of_a_reused_inplace_relu_is_a_layer(net):
    inputs = torch.randn(9, 4)
    with ActivationCounter(net) as counter, torch.no_grad():
        for part in inputs.split(4):
            counter.start_batch()
            net(part)
    hidden = net.first(inputs).relu()
    output = net.second(hidden).relu()
    assert list(counter.metrics) == ["relu", "relu:2"]
    assert counter.metrics["relu"].fires.tolist() == [(hidden > 0).sum(0).tolist()]
    assert counter.metrics["relu:2"].fires.tolist() == [(output > 0).sum(0).tolist()]


def test_hooks_are_gone_after_the_block_and_after_an_error(net):
    counter = ActivationCounter(net)
    with counter:
        net(torch.ones(1, 4))
        assert _hooks(net) > 0
    assert _hooks(net) == 0
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), counter:
        net(torch.ones(1, 3))
    assert _hooks(net) == 0
    assert not torch.overrides.has_torch_function((torch.ones(1),))
    with counter:  # an error within a module leaves nothing to be taken for a module around the next call
        net(torch.ones(1, 4))
    assert list(counter.metrics) == ["relu", "relu:2"]


def test_batches_with_labels_are_counted_by_class(net):
    with ActivationCounter(net, num_classes=3) as counter:
        counter.start_batch(torch.tensor([2, 2]))
        net(torch.ones(2, 4))
    assert counter.metrics["relu"].samples.tolist() == [0, 0, 2]


def test_batches_without_labels_are_counted_as_one(net):
    with ActivationCounter(net, num_classes=3) as counter:
        counter.start_batch()
        net(torch.ones(2, 4))
    assert counter.metrics["relu"].samples.tolist() == [2]


def test_an_error_names_the_layer():
    net = nn.Sequential(nn.Identity(), nn.ReLU())
    with ActivationCounter(net) as counter:
        net(torch.ones(2, 4))
        counter.start_batch()
        with pytest.raises(ValueError, match="4 units as before, got 5") as caught:
            net(torch.ones(2, 5))
    assert caught.value.__notes__ == ["while counting the firings of layer '1'"]


def test_a_chosen_module_that_gives_no_tensor_is_an_error():
    net = nn.ModuleDict({"attention": nn.MultiheadAttention(4, 1)})
    tokens = torch.ones(2, 3, 4)
    with (
        pytest.raises(ValueError, match="layer 'attention' must give a tensor to be counted, got a tuple"),
        ActivationCounter(net, layers=["attention"]),
    ):
        net["attention"](tokens, tokens, tokens)


COMPILED = """
import torch
from torch import nn
from noisereg.metrics import ActivationCounter
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    def forward(self, inputs):
        return torch.relu(self.layers(inputs) - 0.1)
net = Net()
inputs = torch.randn(2, 3)
for compiled in (torch.compile(net, backend="eager"), net):
    compiled(inputs)
    with ActivationCounter(compiled) as counter:
        counter.start_batch()
        compiled(inputs)
    hidden = net.layers[0](inputs)
    wanted = {"layers.1": [(hidden > 0).sum(0).tolist()], "relu": [(hidden > 0.1).sum(0).tolist()]}
    print({layer: metric.fires.tolist() for layer, metric in counter.metrics.items()} == wanted)
    net.compile(backend="eager")
    compiled(inputs)
"""


def test_a_net_compiled_and_run_before_is_counted():
    assert _output(COMPILED) == ["True", "True"]


def test_metrics_load_no_lightning():
    code = "import sys, noisereg.metrics; print('lightning' in sys.modules or 'hydra' in sys.modules)"
    assert _output(code) == ["False"]


def _output(code):
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=paths, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_is_compiled_runs_again_after_blocks_that_overlap():
    torch._dynamo.reset()
    counter = CompileCounter()
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    compiled, inputs = torch.compile(net, backend=counter), torch.ones(4, 2)
    first, second = ActivationCounter(net), ActivationCounter(net)
    first.__enter__()
    second.__enter__()
    compiled(inputs)
    first.__exit__(None, None, None)
    compiled(inputs)
    assert counter.frame_count == 0
    second.__exit__(None, None, None)
    compiled(inputs)
    assert counter.frame_count == 1
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (nn.Sequential(nn.Linear(3, 5), nn.ReLU()), (3,)),
        (nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU()), (2, 9)),
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), nn.ReLU()), (2, 8, 8)),
        (nn.Sequential(nn.ConvTranspose3d(2, 4, 3), nn.ReLU()), (2, 3, 3, 3)),
    ],
    ids=["linear", "conv1d", "pooled conv2d", "transposed conv3d"],
)
def test_a_sample_without_the_axis_of_a_batch_is_a_batch_of_one(net, shape):
    torch.manual_seed(0)
    net[0].reset_parameters()  # some units fire, and some do not
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    counts = []
    for given in (inputs, inputs[None]):
        with ActivationSparsity.watching(net, num_classes=2, required=True) as counter:
            counter.start_batch(torch.tensor([1]))
            net(given)
        counts += [metric.fires for metric in counter.metrics.values()]
    alone, batch = counts
    assert torch.equal(alone, batch)
    assert 0 < batch.sum() < batch.shape[1]
