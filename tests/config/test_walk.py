from noisereg.config.walk import leaves, walk

CONFIG = {"seed": 0, "model": {"hidden": [3, {"a": None}], "empty": {}}, "none": []}


def test_a_walk_passes_everything_once_with_its_key_and_what_holds_it_first():
    assert [key for key, _ in walk(CONFIG)] == [
        "",
        "seed",
        "model",
        "model.hidden",
        "model.hidden[0]",
        "model.hidden[1]",
        "model.hidden[1].a",
        "model.empty",
        "none",
    ]


def test_a_walk_through_sections_alone_yields_lists_whole():
    assert dict(walk(CONFIG, into=(dict,)))["model.hidden"] == [3, {"a": None}]
    assert "model.hidden[0]" not in dict(walk(CONFIG, into=(dict,)))


def test_leaves_are_values_and_neither_sections_nor_lists():
    assert list(leaves(CONFIG)) == [("seed", 0), ("model.hidden[0]", 3), ("model.hidden[1].a", None)]
    assert list(leaves((1, 2), "pair")) == [("pair[0]", 1), ("pair[1]", 2)]
