import pandas as pd

from noisereg.report.figures.line_styles import choose_styles, name_lines


def lines(**columns):
    rows = pd.DataFrame(columns)
    return rows.assign(x=0, mean=1.0) if "quantity" in rows else rows.assign(x=0, mean=1.0, quantity="error")


TWO_P = lines(p=[0.0, 0.2])
TWO_ARMS = lines(arm=["hinge", "logistic"])
TWO_METRICS = lines(quantity=["W1", "W2"])


def scale(style):
    return style.colours().to_dict()["scale"]


def test_colour_tells_p_before_rates_before_arms_before_metrics():
    table = lines(p=[0.0, 0.2], lr=[0.1, 0.2], arm=["a", "b"], quantity=["W1", "W2"])
    keys = []
    for column in ("p", "lr", "arm", "quantity"):
        keys += [style.key for style in choose_styles([table])]
        table = table.assign(**{column: table[column].iloc[0]})
    assert keys == ["p", "lr", "arm", "quantity"]
    assert [style.key for style in choose_styles([table])] == [""]


def test_what_colour_does_not_tell_is_told_by_dashes():
    table = name_lines(lines(p=[0.0, 0.2], lr=[0.1, 0.2], quantity=["train", "test"]))
    assert table["line"].tolist() == ["learning rate 0.1, train", "learning rate 0.2, test"]
    (style,) = choose_styles([lines(p=[0.0, 0.2, 0.0, 0.2], quantity=["train", "train", "test", "test"])])
    dash = style.dashes(of_points=False)["strokeDash"].to_dict()["scale"]
    assert dash["domain"] == ["train", "test"]
    assert dash["range"][0] == [1, 0]  # the first is a whole line
    assert list(style.dashes(of_points=True)) == ["shape"]
    assert choose_styles([TWO_P])[0].dashes(of_points=False) == {}


def test_a_value_has_the_same_colour_in_every_panel():
    first, second = choose_styles([TWO_P, lines(p=[0.2, 0.5])])
    assert scale(first) == scale(second)
    assert scale(first)["domain"] == [0.0, 0.2, 0.5]
    arms = scale(choose_styles([TWO_ARMS])[0])
    assert arms["domain"] == ["hinge", "logistic"] and arms["range"][:2] == ["#0072b2", "#d55e00"]


def test_panels_that_differ_in_one_column_share_a_legend_and_a_choice():
    first, second, single = choose_styles([TWO_P, TWO_P, lines()])
    assert first.choice is second.choice
    assert first.choice.to_dict() == {"param": "chosen"}
    assert first.colours().to_dict()["legend"]["orient"] == "top"
    assert single.choice is None
    assert single.colours() == {"value": "#414487"}


def test_panels_that_differ_in_several_have_their_own():
    styles = choose_styles([TWO_ARMS, TWO_METRICS])
    assert [style.choice.name for style in styles] == ["chosen_0", "chosen_1"]
    assert {style.colours().to_dict()["legend"]["orient"] for style in styles} == {"bottom"}
    assert [style.own for style in choose_styles([TWO_P], own=True)] == [True]


def test_a_panels_own_legend_has_what_is_drawn_in_it_alone():
    rows = lines(p=[0.2, 0.5])
    first, second, _ = choose_styles([TWO_P, rows, TWO_ARMS])
    assert first.colours(TWO_P).to_dict()["legend"]["values"] == [0.0, 0.2]
    assert second.colours(rows).to_dict()["legend"]["values"] == [0.2, 0.5]
    assert second.colours(rows).to_dict()["scale"]["domain"] == [0.0, 0.2, 0.5]
    lined = name_lines(lines(p=[0.0, 0.2, 0.0], quantity=["train", "test", "test"]))
    (style,) = choose_styles([lined], own=True)
    dashes = style.dashes(lined[lined["quantity"] == "test"], of_points=False)["strokeDash"].to_dict()
    assert dashes["legend"]["values"] == ["test"]
