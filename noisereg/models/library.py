"""The classifiers of torchvision, timm and transformers, by name."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call

from noisereg.errors import require_positive
from noisereg.models.checks import describe_tokens
from noisereg.rng import library_generator, restored_libraries

# Auxiliary heads make them return a tuple of several logits in training.
_SEVERAL_HEADS = ("googlenet", "inception_v3")
_FETCHES = ("pretrained", "backbone", "kernels")  # words in names of options that may lead a library to a download
_OF_THE_DATA = (
    *("img_size", "image_size", "in_chans", "num_channels", "num_classes", "num_labels"),
    *("vocab_size", "pad_token_id", "bos_token_id", "eos_token_id"),
)

Options = Mapping[str, bool | float | str | list[bool | float]]


def torchvision_model(
    input_shape: tuple[int, ...], num_outputs: int, *, name: str = "resnet18", seed: int = 0
) -> nn.Module:
    """Build a classifier of torchvision with weights that its own code draws, as a function of the seed alone.

    The result is torchvision's module, so its layers keep the names they have there. Mind that some of these networks
    use one ReLU module at several places, some call the function `relu`, which no hook sees, and some have other
    activations: EfficientNet SiLU, Swin and ConvNeXt GELU.

    Args:
        input_shape: (3, height, width).
        num_outputs: 1 for two classes, else the number of classes.
        name: one of `torchvision.models.list_models(module=torchvision.models)`.
        seed: of the weights.

    Returns:
        The network, in training mode.

    Raises:
        ValueError: the name is unknown, the network has several heads in training, or it does not take such inputs.

    Example:
        >>> model = torchvision_model((3, 32, 32), 10, name="squeezenet1_1")
        >>> model(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    require_positive(num_outputs=num_outputs)
    if len(input_shape) != 3 or input_shape[0] != 3:
        raise ValueError(f"input_shape must be (3, height, width) for a model of torchvision, got {input_shape}")
    import torchvision.models  # noqa: PLC0415

    names = torchvision.models.list_models(module=torchvision.models)
    _check_name(name, names, "a classifier of torchvision", where="torchvision.models.list_models()")
    if name in _SEVERAL_HEADS:
        raise ValueError(f"name must be a network with one head, got {name!r}, which returns a tuple in training")
    with library_generator(seed):
        net = torchvision.models.get_model(name, weights=None, num_classes=num_outputs)
    _check_inputs(net, input_shape, name=name)
    return net


def timm_model(
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    name: str = "vit_tiny_patch16_224",
    act: str | None = None,
    options: Options | None = None,
    pretrained: bool = False,
    seed: int = 0,
) -> nn.Module:
    """Build a classifier of timm with weights that its own code draws, as a function of the seed alone.

    The result is timm's module, for any number of channels; a network for images of one size is made for those of
    `input_shape`.

    Args:
        input_shape: (channels, height, width).
        num_outputs: 1 for two classes, else the number of classes.
        name: one of `timm.list_models()`, or of `timm.list_pretrained()`.
        act: activation by timm's name of it, such as relu; None for that of the network.
        options: further arguments of the network: numbers or lists of numbers, such as `patch_size`.
        pretrained: whether weights are downloaded, of which the last layer is drawn anew.
        seed: of the weights.

    Returns:
        The network, in training mode.

    Raises:
        ModuleNotFoundError: if timm is not installed.
        ValueError: the name, the activation or an option is unknown, or the network does not take such inputs.

    Source: Wightman, "PyTorch image models", 2019, https://github.com/huggingface/pytorch-image-models
    """
    timm, layers = _import("timm", extra="timm"), _import("timm.layers", extra="timm")
    require_positive(num_outputs=num_outputs)
    if len(input_shape) != 3:
        raise ValueError(f"input_shape must be (channels, height, width) for a model of timm, got {input_shape}")
    _check_name(name, [*timm.list_models(), *timm.list_pretrained()], "a network of timm", where="timm.list_models()")
    given: dict[str, Any] = _check_options(options, texts=())
    if act is not None:
        try:
            given["act_layer"] = layers.get_act_layer(act)
        except KeyError:
            raise ValueError(f"act must be an activation of timm, such as relu, gelu or silu, got {act!r}") from None
    if timm.get_pretrained_cfg(name).fixed_input_size:
        given["img_size"] = tuple(input_shape[1:])
    with _as_option_error(name), library_generator(seed):
        net: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=num_outputs, in_chans=input_shape[0], **given
        )
    _check_patches(net, input_shape, name=name)
    _check_inputs(net, input_shape, name=name)
    return net


class Logits(nn.Module):
    """A network of transformers that takes the inputs of a data set and returns its logits alone.

    Args:
        net: whose outputs have `logits`.
        num_tokens: size of the vocabulary, where the inputs are tokens; None for images.
    """

    def __init__(self, net: nn.Module, *, num_tokens: int | None = None) -> None:
        super().__init__()
        self.net, self.num_tokens = net, num_tokens

    def forward(self, inputs: Shaped[Tensor, "batch *shape"]) -> Float[Tensor, "batch outputs"]:
        """Compute the logits.

        Args:
            inputs: images, or numbers of tokens of any type; there is no padding among them.

        Raises:
            ValueError: if a token is out of range.
        """
        if self.num_tokens is None:
            return self.net(inputs).logits
        tokens = inputs.long()
        if tokens.min() < 0 or tokens.max() >= self.num_tokens:
            raise ValueError(describe_tokens(tokens, self.num_tokens))
        return self.net(tokens, attention_mask=torch.ones_like(tokens)).logits


def transformers_model(
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    name: str = "gpt2",
    num_tokens: int | None = None,
    options: Options | None = None,
    pretrained: str | None = None,
    seed: int = 0,
) -> nn.Module:
    """Build a classifier of transformers with weights that its own code draws, as a function of the seed alone.

    It classifies images, or sequences of tokens: transformers' `AutoModelForImageClassification` or
    `AutoModelForSequenceClassification` of a kind. Its layers keep the names they have there. One token more than there
    are stands for the padding that some of these networks need to know of, and is in no input.

    Args:
        input_shape: (channels, height, width) of images, or (context,) of tokens.
        num_outputs: 1 for two classes, else the number of classes.
        name: kind of the network, such as gpt2, bert or vit: a `model_type` of transformers.
        num_tokens: size of the vocabulary; None for as many as there are outputs, as where a token is predicted.
        options: values of its configuration, numbers, lists of numbers or names of activations: such as
            {"num_hidden_layers": 2, "hidden_act": "relu"}.
        pretrained: a folder, or a name on the hub from which it is downloaded, with weights of this kind in the format
            safetensors; the last layer is drawn anew if it does not fit. The options are then those of the weights.
        seed: of the weights.

    Returns:
        The network, in training mode.

    Raises:
        ModuleNotFoundError: if transformers is not installed.
        ValueError: the name or an option is unknown, or the network does not take such inputs.

    Source: Wolf et al., "Transformers: state-of-the-art natural language processing", 2020.
    """
    transformers = _import("transformers", extra="transformers")
    known = _import("transformers.models.auto.modeling_auto", extra="transformers")
    acts = _import("transformers.activations", extra="transformers").ACT2FN
    require_positive(num_outputs=num_outputs, num_tokens=1 if num_tokens is None else num_tokens)
    if len(input_shape) not in (1, 3):
        raise ValueError(
            f"input_shape must be (channels, height, width) or (context,) for transformers, got {input_shape}"
        )
    is_text = len(input_shape) == 1
    what, auto, kinds = (
        ("sequences", "SequenceClassification", known.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
        if is_text
        else ("images", "ImageClassification", known.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)
    )
    names = [kind for kind in kinds if kind != "timm_wrapper"]  # which may fetch: timm's networks are model=timm
    _check_name(name, names, f"a classifier of {what} of transformers", where="docs/reference.md")
    given: dict[str, Any] = _check_options(options, texts=acts)
    vocabulary = (num_outputs if num_tokens is None else num_tokens) if is_text else None
    of_data: dict[str, Any] = {}
    if vocabulary is not None:
        of_data = {"vocab_size": vocabulary + 1, "pad_token_id": vocabulary}
        of_data |= dict.fromkeys(("bos_token_id", "eos_token_id"))  # theirs are of another vocabulary
    make = getattr(transformers, f"AutoModelFor{auto}")
    with _as_option_error(name), library_generator(seed):
        if pretrained is None:
            config = transformers.AutoConfig.for_model(name)
            for key in given:
                if not hasattr(config, key):
                    raise ValueError(f"options has {key}, which the configuration of {name} has not")
            if not is_text:
                sizes = {"image_size": input_shape[1], "num_channels": input_shape[0]}
                of_data = {key: value for key, value in sizes.items() if hasattr(config, key)}
            config = transformers.AutoConfig.for_model(name, num_labels=num_outputs, **given | of_data)
            if not isinstance(kinds[name], str):  # of several networks, such as deit's, the first has no teacher
                config.architectures = [kinds[name][0]]
            net = make.from_config(config)
        else:
            net = _load_pretrained(make, pretrained, name=name, num_labels=num_outputs, options=options)
            vocabulary = None if vocabulary is None else int(net.config.vocab_size)
    model = Logits(net.train(), num_tokens=vocabulary)
    if is_text:
        _check_tokens(model, input_shape, name=name)
    else:
        _check_patches(model, input_shape, name=name)
        _check_inputs(model, input_shape, name=name)
    return model


def _load_pretrained(make: Any, pretrained: str, *, name: str, num_labels: int, options: Options | None) -> Any:
    if options:
        raise ValueError(f"options must be empty with pretrained={pretrained}, which has its own, got {dict(options)}")
    net = make.from_pretrained(
        pretrained,
        num_labels=num_labels,
        ignore_mismatched_sizes=True,
        use_safetensors=True,
        trust_remote_code=False,
        dtype=torch.get_default_dtype(),
    )
    if net.config.model_type != name:
        raise ValueError(f"name must be {net.config.model_type}, as pretrained={pretrained} is one, got {name!r}")
    return net


def _import(module: str, *, extra: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"there is no module {error.name}: pip install 'noisereg[{extra}]'") from None


def _check_name(name: str, names: Collection[str], what: str, *, where: str) -> None:
    if name not in names:
        close = get_close_matches(name.lower(), names)
        mend = f"did you mean {' or '.join(close)}?" if close else f"see {where}"
        raise ValueError(f"name must be {what}, got {name!r}; {mend}")


def _check_options(options: Options | None, *, texts: Collection[str]) -> dict[str, Any]:
    """Return options that cannot lead a library to a file, an address or code: numbers, and texts of a list."""
    found = dict(options or {})
    for key, value in found.items():
        if any(word in key for word in _FETCHES):
            raise ValueError(f"options has {key}, by which a library may download; see pretrained")
        if key in _OF_THE_DATA:
            raise ValueError(f"options has {key}, which follows from the data")
        for part in value if isinstance(value, list | tuple) else [value]:
            if not (isinstance(part, bool | int | float) or (isinstance(part, str) and part in texts)):
                kinds = f"numbers, lists of numbers, and of texts {', '.join(texts)}" if texts else "numbers"
                raise ValueError(f"options has {key}={value!r}; it takes {kinds}")
    return found


@contextmanager
def _as_option_error(name: str) -> Iterator[None]:
    """Raise what a library says of its arguments as a ValueError of one line."""
    try:
        yield
    except (TypeError, KeyError, AssertionError, AttributeError, IndexError, OSError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{name} cannot be built: {text or type(error).__name__}") from error


def _check_patches(net: nn.Module, input_shape: tuple[int, ...], *, name: str) -> None:
    """Raise ValueError where a network that begins with patches would leave a margin of the images out."""
    first = next((part for part in net.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None or first.kernel_size != first.stride or first.padding not in (0, (0, 0), "valid"):
        return
    for size, length in zip(first.kernel_size, input_shape[1:], strict=True):
        if length % size:
            raise ValueError(
                f"{name} has patches of {size} pixels, which do not divide images of {length}: give another size, "
                "where it takes one, as options={patch_size: 4}, or other images"
            )


@torch.no_grad()
def _check_inputs(net: nn.Module, input_shape: tuple[int, ...], *, name: str) -> None:
    """Raise ValueError unless the network runs on such inputs: on tensors without data, which costs no arithmetic."""
    tensors = chain(net.named_parameters(), net.named_buffers())
    shapes = {key: tensor.to("meta") for key, tensor in tensors}
    net.eval()
    try:
        functional_call(net, shapes, (torch.empty(1, *input_shape, device="meta"),))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(f"{name} does not take inputs of shape {input_shape}: {error}") from error
    finally:
        net.train()


@torch.no_grad()
def _check_tokens(net: nn.Module, input_shape: tuple[int, ...], *, name: str) -> None:
    """Raise ValueError unless the network runs on sequences of this length: on a short batch."""
    net.eval()
    try:
        with restored_libraries():
            net(torch.zeros(2, *input_shape, dtype=torch.int64))
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError, AttributeError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{name} does not take {input_shape[0]} tokens of any kind: {text}") from error
    finally:
        net.train()
