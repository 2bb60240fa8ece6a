import pytest
import torch
from torch import nn

from noisereg.engine.stackable import why_not
from noisereg.models import GPT, ViT
from noisereg.models.transformer import Block


def test_a_block_is_that_of_torch_with_the_same_weights():
    torch.manual_seed(0)
    ours = Block(8, heads=2, hidden=12, act="gelu", causal=True)
    theirs = nn.TransformerEncoderLayer(
        8, 2, dim_feedforward=12, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    pairs = {"self_attn.in_proj_": "attention.", "self_attn.out_proj.": "merge."}
    pairs |= {f"{name}{number}.": f"{name}{number}." for name in ("norm", "linear") for number in (1, 2)}
    state = ours.state_dict()
    theirs.load_state_dict({a + part: state[b + part] for a, b in pairs.items() for part in ("weight", "bias")})
    tokens = torch.randn(3, 5, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    torch.testing.assert_close(ours(tokens), theirs(tokens, src_mask=mask, is_causal=True))


def test_patches_are_read_row_by_row_and_what_is_missing_is_zero():
    model = ViT((2, 5, 7), 3, patch=4, width=32, depth=1, heads=2, hidden=4)
    images = torch.randn(1, 2, 5, 7)
    whole = torch.zeros(1, 2, 8, 8)
    whole[:, :, :5, :7] = images
    patches = [whole[:, :, i : i + 4, j : j + 4].flatten(1) for i in (0, 4) for j in (0, 4)]
    seen = []
    model.embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    assert model(images).shape == (1, 3)
    assert torch.equal(seen[0], torch.stack(patches, dim=1))


def test_text_is_read_from_the_past_alone_and_the_order_counts():
    model = GPT((6,), 9, width=8, heads=2, hidden=16)
    tokens = torch.randint(9, (4, 6), generator=torch.Generator().manual_seed(0))
    block = model.blocks[0]
    hidden = torch.randn(4, 6, 8)
    changed = hidden.clone()
    changed[:, 4:] += 1
    torch.testing.assert_close(block(hidden)[:, :4], block(changed)[:, :4])
    assert not torch.allclose(model(tokens), model(tokens.flip(1)))
    assert torch.equal(model(tokens), model(tokens.to(torch.uint8)))


@pytest.mark.parametrize("act", ["relu", "relu2", "gelu"])
def test_transformers_are_a_function_of_the_seed_and_can_be_stacked(act):
    images, tokens = torch.randn(4, 1, 6, 6), torch.randint(9, (4, 5)).float()
    for make, inputs in (
        (lambda seed: ViT((1, 6, 6), 3, patch=3, width=8, depth=1, heads=2, hidden=12, act=act, seed=seed), images),
        (lambda seed: GPT((5,), 9, width=8, depth=1, heads=2, hidden=12, act=act, seed=seed), tokens),
    ):
        model = make(0)
        assert torch.equal(model(inputs), make(0)(inputs)) and not torch.equal(model(inputs), make(1)(inputs))
        assert why_not(model, inputs) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ViT((5,), 3), r"input_shape must be \(channels, height, width\), got \(5,\)"),
        (lambda: ViT((1, 8, 8), 3, width=9, heads=2), "width must be a multiple of heads=2, got 9"),
        (lambda: ViT((1, 8, 8), 3, act="tanh"), "act must be one of relu, relu2, leaky_relu, gelu, silu, got 'tanh'"),
        (lambda: GPT((60,), 1), r"input_shape must be \(context,\) of at least 3 kinds of tokens"),
        (lambda: GPT((1, 8, 8), 10), r"input_shape must be \(context,\) of at least 3 kinds of tokens"),
        (lambda: GPT((8,), 10, depth=0), "depth must be a whole number, at least 1, got 0"),
    ],
)
def test_arguments_out_of_range_are_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("token", "words"), [(-1, "got -1"), (9, "got 9"), (float("nan"), "got -9223372036854775808")])
def test_tokens_out_of_range_are_an_error_that_names_them_and_the_vocabulary(token, words):
    model = GPT((5,), 9, width=8, depth=1, heads=2, hidden=12)
    tokens = torch.zeros(2, 5)
    tokens[1, 2] = token
    message = rf"^inputs must be tokens in \[0, 9\), as there are 9 kinds of them, {words}$"
    with pytest.raises(ValueError, match=message):
        model(tokens)
    with pytest.raises(ValueError, match=r"tokens in \[0, 9\), as there are 9 kinds of them, got others$"):
        torch.vmap(lambda some: torch.func.functional_call(model, dict(model.named_parameters()), some))(tokens[None])
