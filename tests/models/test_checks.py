import re

import pytest
import torch
from torch import nn

from noisereg.models.checks import check_append_one, check_choice, check_names, check_weights


def test_an_unknown_choice_is_refused_with_the_known_ones():
    check_choice("bias", "none", ["zero", "none"])
    with pytest.raises(ValueError, match="bias must be one of zero, none, got 'ones'"):
        check_choice("bias", "ones", ["zero", "none"])


@pytest.mark.parametrize("bias", ["zero", "same", "torch"])
def test_an_appended_one_excludes_biases(bias):
    check_append_one(False, bias)
    check_append_one(True, "none")
    with pytest.raises(ValueError, match=re.escape(f"requires bias='none', got '{bias}'")):
        check_append_one(True, bias)


def test_a_network_without_a_weight_to_train_is_refused():
    for model in (nn.Linear(2, 1).requires_grad_(False), nn.ReLU()):
        with pytest.raises(ValueError, match="must have weights that are trained, got none with requires_grad"):
            check_weights(model)
    check_weights(nn.Sequential(nn.Linear(2, 1).requires_grad_(False), nn.Linear(1, 1)))


def test_a_weight_whose_size_the_first_call_decides_is_refused():
    with pytest.raises(ValueError, match=r"^Sequential must know the sizes of its weights, got 1\.weight without"):
        check_weights(nn.Sequential(nn.Linear(2, 1), nn.LazyLinear(1)))


def test_weights_of_two_precisions_are_refused():
    model = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1).double())
    words = r"one precision, got float64 for 1\.\w+ and float32 for 0\.\w+; make them alike by \.float\(\)"
    with pytest.raises(ValueError, match=words):
        check_weights(model)
    check_weights(model.double())
    check_weights(model.float())


@pytest.mark.parametrize("kind", ["layer", "weight", "buffer"])
def test_a_name_that_would_become_code_is_refused(kind):
    model, name = nn.Sequential(nn.Linear(2, 1)), 'a", print("ran") or "b'
    {
        "layer": lambda: model.add_module(name, nn.ReLU()),
        "weight": lambda: model.register_parameter(name, nn.Parameter(torch.zeros(1))),
        "buffer": lambda: model.register_buffer(name, torch.zeros(1)),
    }[kind]()
    with pytest.raises(ValueError, match=rf"^a name in the network must be of letters, .*, got '{re.escape(name)}'$"):
        check_names(model)


def test_names_of_letters_digits_hyphens_and_dots_pass():
    check_names(nn.ModuleDict({"layer-1": nn.Sequential(nn.Linear(2, 1)), "größe_2": nn.BatchNorm1d(2)}))
