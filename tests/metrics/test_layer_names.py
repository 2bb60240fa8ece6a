import pytest

from noisereg.metrics import short_names


@pytest.mark.parametrize("holder", ["model.", "net."])
def test_a_holder_of_all_layers_is_dropped(holder):
    assert short_names([f"{holder}a", f"{holder}b.c"]) == {f"{holder}a": "a", f"{holder}b.c": "b.c"}


def test_a_name_that_only_begins_like_a_holder_stays():
    assert short_names(["model", "modelling.a"]) == {"model": "model", "modelling.a": "modelling.a"}


def test_a_holder_in_a_holder_is_dropped_so_that_a_network_alone_and_in_a_module_has_the_same_names():
    assert list(short_names(["model.net.a", "model.net.model.b"]).values()) == ["a", "model.b"]
    assert list(short_names(["net.a", "net.model.b"]).values()) == ["a", "model.b"]


def test_the_mark_of_compilation_is_dropped():
    assert short_names(["model._orig_mod.a.relu"]) == {"model._orig_mod.a.relu": "a.relu"}


def test_no_names_are_no_names():
    assert short_names([]) == {}
