"""Networks of timm and transformers: the same door as torchvision's, and their activations against hand counts."""

import pytest
import torch
from torch import nn

from noisereg import rng
from noisereg.metrics import ActivationCounter
from noisereg.models import timm_model, transformers_model

IMAGES, CONTEXT = (1, 8, 8), (7,)
VIT = {"patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2}
BART = {"d_model": 8, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture
def timm():
    return pytest.importorskip("timm", reason="pip install 'noisereg[timm]'")


@pytest.fixture
def transformers(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("transformers", reason="pip install 'noisereg[transformers]'")


# Both


@pytest.mark.parametrize(("make", "extra"), [(timm_model, "timm"), (transformers_model, "transformers")])
def test_a_library_that_is_not_installed_is_named_with_the_command_that_installs_it(make, extra, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, extra, None)
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'noisereg\[{extra}\]'$"):
        make(IMAGES, 3)


def _count(net, *inputs):
    with torch.no_grad(), ActivationCounter(net) as counter:
        net(*inputs)
    return counter.metrics


def _watch(module, *, what):
    """Record what a module is given, or what it gives."""
    seen = []
    hooks = {"input": module.register_forward_pre_hook, "output": module.register_forward_hook}
    take = {"input": lambda _, inputs: inputs[0], "output": lambda _, __, output: output}[what]
    hooks[what](lambda *args: seen.append(take(*args).detach().clone()))
    return seen


def _by_hand(seen, units):
    active = torch.cat([part.reshape(-1, units) for part in seen]) > 0
    return [active.sum(0).tolist()], [len(active)]


def _counted(metric):
    return metric.fires.tolist(), metric.samples.tolist()


# timm


@pytest.mark.usefixtures("timm")
def test_a_network_of_timm_is_its_own_as_a_function_of_the_seed():
    ours, again, other = (timm_model(IMAGES, 3, name="test_vit", options=VIT, seed=seed) for seed in (0, 0, 1))
    with rng.library_generator(0):
        theirs = __import__("timm").create_model("test_vit", num_classes=3, in_chans=1, img_size=(8, 8), **VIT)
    assert type(ours) is type(theirs) and ours.training
    assert all(torch.equal(tensor, theirs.state_dict()[key]) for key, tensor in ours.state_dict().items())
    assert torch.equal(ours.head.weight, again.head.weight) and not torch.equal(ours.head.weight, other.head.weight)
    assert ours(torch.zeros(2, *IMAGES)).shape == (2, 3)


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("shape", "kwargs", "message"),
    [
        (IMAGES, {"name": "hf-hub:me/net"}, "^name must be a network of timm, got 'hf-hub:me/net'; "),
        (IMAGES, {"name": "local-dir:net"}, "^name must be a network of timm, got 'local-dir:net'; "),
        (IMAGES, {"name": "resnet10s"}, r"^name must be a network of timm, got 'resnet10s'; did you mean .*resnet10t"),
        (IMAGES, {"name": "test_vit", "act": "rely"}, "^act must be an activation of timm, .* got 'rely'"),
        (IMAGES, {"name": "test_vit", "options": {"pretrained_cfg": 1}}, "^options has pretrained_cfg, by which"),
        (IMAGES, {"name": "test_vit", "options": {"checkpoint_path": "a"}}, "^options has checkpoint_path='a'; it"),
        (IMAGES, {"name": "test_vit", "options": {"img_size": 4}}, "^options has img_size, which follows from the"),
        (IMAGES, {"name": "test_vit", "options": {"dept": 4}}, "^test_vit cannot be built: .*dept"),
        (IMAGES, {"name": "test_vit", "options": {"patch_size": 3}}, "^test_vit has patches of 3 pixels, which do not"),
        ((8,), {"name": "test_vit"}, r"^input_shape must be \(channels, height, width\)"),
        (IMAGES, {"name": "test_resnet", "options": {"output_stride": 7}}, "^test_resnet cannot be built"),
    ],
)
def test_what_timm_must_not_or_cannot_make_is_refused_in_one_line(shape, kwargs, message):
    with pytest.raises(ValueError, match=message):
        timm_model(shape, 3, **kwargs)


ACTS = ["relu", "relu6", "leaky_relu", "gelu", "gelu_tanh", "quick_gelu", "silu", "mish", "elu", "celu", "selu"]


@pytest.mark.parametrize("act", [*ACTS, "prelu", "hard_swish", "hard_mish"])
def test_the_activations_of_timm_are_counted_in_its_mlp(act, timm):
    layers = pytest.importorskip("timm.layers")
    torch.manual_seed(0)
    mlp = layers.Mlp(4, 6, 2, act_layer=layers.get_act_layer(act))
    seen = _watch(mlp.fc2, what="input")
    (metric,) = _count(mlp, torch.randn(3, 5, 4)).values()
    assert _counted(metric) == _by_hand(seen, 6)


@pytest.mark.parametrize(
    ("name", "kwargs", "units"),
    [
        ("GluMlp", {"act_layer": nn.SiLU}, 6),
        ("GluMlp", {"act_layer": nn.GELU, "gate_last": False}, 6),
        ("SwiGLU", {}, 12),
        ("SwiGLUPacked", {}, 6),
        ("GlobalResponseNormMlp", {}, 12),
        ("ConvMlp", {}, 12),
    ],
)
def test_gated_layers_of_timm_are_counted_after_the_gate(name, kwargs, units, timm):
    torch.manual_seed(0)
    mlp = getattr(pytest.importorskip("timm.layers"), name)(4, 12, 2, **kwargs)
    gated = "G" in name and name != "GlobalResponseNormMlp"
    seen = _watch(mlp.fc2, what="input") if gated else _watch(mlp.act, what="output")
    images = torch.randn(3, 4, 2, 2)
    inputs = images if name == "ConvMlp" else images.movedim(1, -1)
    (metric,) = _count(mlp, inputs).values()
    if name == "ConvMlp":  # units are positions
        assert _counted(metric) == _by_hand(seen, 12 * 2 * 2)
    else:
        assert _counted(metric) == _by_hand(seen, units)


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "options", "units"),
    [("test_vit", VIT, 24), ("test_vit2", VIT, None)],
)
def test_whole_networks_of_timm_are_counted_layer_by_layer(name, options, units):
    net = timm_model(IMAGES, 3, name=name, act="relu", options=options)
    seen = {key: _watch(part, what="output") for key, part in net.named_modules() if isinstance(part, nn.ReLU)}
    found = _count(net, torch.randn(5, *IMAGES))
    assert found.keys() == seen.keys() and len(seen) >= 2
    for key, metric in found.items():
        width = seen[key][0].shape[-1]
        assert units in (None, width)
        assert _counted(metric) == _by_hand(seen[key], width), key


# transformers


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize("name", ["gpt2", "bert", "opt", "distilbert", "roberta", "gpt_neox"])
def test_a_kind_of_transformers_reads_tokens_of_any_type_and_returns_logits(name):
    ours, again, other = (transformers_model(CONTEXT, 5, name=name, options=SMALL, seed=seed) for seed in (0, 0, 1))
    tokens = torch.arange(14).view(2, 7) % 5
    ours.eval(), again.eval(), other.eval()
    logits = ours(tokens.float())
    assert logits.shape == (2, 5)
    assert torch.equal(logits, again(tokens)) and not torch.equal(logits, other(tokens))
    last = tokens.clone()
    last[:, -1] = (last[:, -1] + 1) % 5
    assert not torch.allclose(ours(last), logits)  # no token is taken for padding
    assert "net" not in next(iter(_count(ours, tokens)))


@pytest.mark.usefixtures("transformers")
def test_a_kind_that_has_no_tokens_for_begin_and_end_is_built():
    options = {"d_model": 8, "block_sizes": [1, 1], "n_head": 2, "d_head": 4, "d_inner": 12}
    model = transformers_model(CONTEXT, 5, name="funnel", options=options)
    assert model(torch.zeros(2, 7)).shape == (2, 5)


def test_of_a_kind_with_several_networks_the_one_without_a_teacher_is_built(transformers):
    model = transformers_model((1, 8, 8), 3, name="deit", options=SMALL | {"patch_size": 4})
    assert type(model.net).__name__ == "DeiTForImageClassification"
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize("token", [-1, 5])
def test_tokens_that_transformers_does_not_have_are_refused(token):
    model = transformers_model(CONTEXT, 5, options=SMALL)
    with pytest.raises(ValueError, match=rf"tokens in \[0, 5\), as there are 5 kinds of them, got {token}$"):
        model(torch.full((2, 7), token))


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize(
    ("shape", "kwargs", "message"),
    [
        (CONTEXT, {"name": "me/net"}, "^name must be a classifier of sequences of transformers, got 'me/net'"),
        (CONTEXT, {"name": "vit"}, "^name must be a classifier of sequences of transformers, got 'vit'"),
        (IMAGES, {"name": "timm_wrapper"}, "^name must be a classifier of images of transformers, got 'timm_wrapper'"),
        (CONTEXT, {"options": {"n_layr": 2}}, "^options has n_layr, which the configuration of gpt2 has not"),
        (CONTEXT, {"options": {"activation_function": "rely"}}, "^options has activation_function='rely'; it takes"),
        (CONTEXT, {"options": {"auto_map": "a.B"}}, "^options has auto_map='a.B'; it takes"),
        (CONTEXT, {"options": {"use_pretrained_backbone": True}}, "^options has use_pretrained_backbone, by which"),
        (CONTEXT, {"options": {"pad_token_id": 0}}, "^options has pad_token_id, which follows from the data"),
        (CONTEXT, {"options": SMALL | {"num_attention_heads": 3}}, "`embed_dim` must be divisible by num_heads"),
        (CONTEXT, {"name": "bart", "options": BART}, "^bart does not take 7 tokens of any kind: "),
        ((70,), {"options": SMALL | {"n_positions": 9}}, "^gpt2 does not take 70 tokens of any kind: "),
        (
            (2, 2),
            {},
            r"^input_shape must be .* or \(context,\) for transformers, got \(2, 2\)",
        ),
        (CONTEXT, {"num_tokens": 0}, "^num_tokens must be a whole number, at least 1, got 0"),
    ],
)
def test_what_transformers_must_not_or_cannot_make_is_refused_in_one_line(shape, kwargs, message):
    with pytest.raises(ValueError, match=message):
        transformers_model(shape, 5, **kwargs)


@pytest.mark.usefixtures("transformers")
def test_weights_are_loaded_where_they_are_asked_for_and_of_the_kind_that_is_named(tmp_path):
    model = transformers_model(CONTEXT, 5, options=SMALL, seed=3)
    model.net.save_pretrained(tmp_path)
    loaded = transformers_model(CONTEXT, 5, pretrained=str(tmp_path))
    tokens = torch.arange(14).view(2, 7) % 5
    assert torch.equal(model.eval()(tokens), loaded.eval()(tokens))
    with pytest.raises(ValueError, match=r"^name must be gpt2, as pretrained=.* is one, got 'bert'"):
        transformers_model(CONTEXT, 5, name="bert", pretrained=str(tmp_path))
    with pytest.raises(ValueError, match=r"^options must be empty with pretrained="):
        transformers_model(CONTEXT, 5, options=SMALL, pretrained=str(tmp_path))
    with pytest.raises(ValueError, match=r"^gpt2 cannot be built: "):
        transformers_model(CONTEXT, 5, pretrained=str(tmp_path / "nowhere"))


NO_ACTIVATIONS = {"laplace", "linear", "sigmoid", "tanh"}  # not small on one side and large on the other


def test_the_activations_of_transformers_are_counted_by_the_names_it_has_for_them(transformers):
    acts = pytest.importorskip("transformers.activations")
    found = set()
    for name in acts.ACT2CLS:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 6), acts.ACT2FN[name], nn.Linear(6, 2))
        seen = _watch(net[1], what="output")
        if name in NO_ACTIVATIONS:
            with pytest.raises(ValueError, match=r"Sequential has (called )?no activation"):
                _count(net, torch.randn(3, 5, 4))
            continue
        metrics = _count(net, torch.randn(3, 5, 4))
        assert list(metrics) == ["1"], name
        assert _counted(metrics["1"]) == _by_hand(seen, 6), name
        found.add(type(net[1]).__name__)
    assert {"NewGELUActivation", "GELUActivation", "QuickGELUActivation", "ReLUSquaredActivation"} <= found


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize(
    ("name", "options", "suffix", "before", "units"),
    [
        ("gpt2", {"n_inner": 12}, "mlp.act", "mlp.c_proj", 12),
        ("gpt2", {"n_inner": 12, "activation_function": "relu"}, "mlp.act", "mlp.c_proj", 12),
        ("bert", {"intermediate_size": 12}, "intermediate_act_fn", "output.dense", 12),
        ("opt", {"ffn_dim": 12}, "activation_fn", "fc2", 12),
        ("llama", {"intermediate_size": 12}, "act_fn", "down_proj", 12),
    ],
)
def test_whole_kinds_of_transformers_are_counted_layer_by_layer(name, options, suffix, before, units):
    model = transformers_model(CONTEXT, 5, name=name, options=SMALL | options).eval()
    parts = {key: part for key, part in model.named_modules() if key.endswith(before) and "attention.output" not in key}
    seen = [_watch(part, what="input") for part in parts.values()]
    found = _count(model, torch.arange(21).view(3, 7) % 5)
    assert len(found) == len(seen) == 2 and all(key.endswith(suffix) for key in found)
    for metric, layer in zip(found.values(), seen, strict=True):
        assert _counted(metric) == _by_hand(layer, units)


@pytest.mark.usefixtures("transformers")
def test_the_tokens_that_go_to_experts_are_counted_for_their_own_classes():
    options = SMALL | {"num_key_value_heads": 2, "intermediate_size": 12, "num_local_experts": 4}
    model = transformers_model(CONTEXT, 5, name="mixtral", options=options).eval()
    tokens, labels = torch.arange(42).view(6, 7).square() % 5, torch.tensor([0, 1, 2, 2, 1, 0])
    with torch.no_grad(), ActivationCounter(model, num_classes=3) as counter:
        counter.start_batch(labels)
        model(tokens)
    by_class = sum(metric.fires.sum(1) for metric in counter.metrics.values())
    one_by_one = [sum(m.fires.sum() for m in _count(model, tokens[labels == label]).values()) for label in range(3)]
    assert by_class.tolist() == torch.stack(one_by_one).tolist()
