import numpy as np
import pytest
import torch

from noisereg.noise import Assigned, Corruption, FileLabels, Samples

CLEAN = torch.tensor([0, 0, 1, 1, 2, 2])
GIVEN = [0, 2, 1, 1, 1, 0]
NAMES = ["ant/1.png", "ant/2.png", "bee/1.png", "bee/2.png", "cat/1.png", "cat/2.png"]
SAMPLES = Samples(CLEAN, source="insects")
NAMED = Samples(CLEAN, names=NAMES, source="insects")


def write(path, **columns):
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "labels.csv", clean=CLEAN.tolist(), given=GIVEN)


def test_the_labels_of_the_file_are_those_of_the_samples_and_give_the_law_of_their_classes(path):
    rule = FileLabels(p=1.0, path=path).of(SAMPLES, num_classes=3)
    assert rule.assigned.labels.tolist() == GIVEN
    assert rule.assigned.rate == pytest.approx(3 / 6)  # samples 1, 4 and 5
    assert rule.transition(3).tolist() == [[0.5, 0, 0.5], [0, 1, 0], [0.5, 0.5, 0]]
    assert rule.effective_rate(3) == pytest.approx(1 - (0.5 + 1 + 0) / 3)
    assert (rule.column, rule.clean_column) == ("given", "clean")


def test_a_class_without_a_sample_keeps_its_label():
    counts = torch.tensor([[1, 3], [0, 0]])
    assert Assigned(CLEAN, CLEAN, counts=counts).law().tolist() == [[0.25, 0.75], [0, 1]]


@pytest.mark.parametrize("rows", [None, [0, 2, 5]])
@pytest.mark.parametrize("way", ["order", "index", "file", "train/file", "npy"])
def test_label_i_belongs_to_sample_i_however_the_file_names_it_and_whichever_samples_are_kept(way, rows, tmp_path):
    mixed = [3, 0, 5, 1, 4, 2]
    samples = Samples(CLEAN, None if rows is None else torch.tensor(rows), names=NAMES)
    place = tmp_path / "labels.csv"
    if way == "order":
        write(place, worse_label=GIVEN, index_of_worker=[9] * 6, clean_label=CLEAN.tolist())
    elif way == "index":
        write(place, worse_label=[GIVEN[i] for i in mixed], index=mixed, index_of_worker=[9] * 6)
    elif way == "npy":
        np.save(place := tmp_path / "labels.npy", GIVEN)
    else:
        names = [f"{'train/' if way != 'file' else ''}{NAMES[i]}" for i in mixed]
        write(place, file=names, worse_label=[GIVEN[i] for i in mixed], index_of_worker=[9] * 6)
    column = None if way == "npy" else "worse_label"
    rule = FileLabels(p=1.0, path=str(place), column=column).of(samples, num_classes=3)
    chosen = list(range(6)) if rows is None else rows
    assert rule.assigned.labels.tolist() == [GIVEN[i] for i in chosen]
    assert rule.assigned.clean.tolist() == CLEAN[chosen].tolist()


def test_samples_that_are_not_trained_on_need_no_label(tmp_path):
    kept = Samples(CLEAN, torch.tensor([1, 4]))
    path = write(tmp_path / "labels.csv", index=[4, 1], given=[1, 2])
    assert FileLabels(p=1.0, path=path).of(kept, num_classes=3).assigned.labels.tolist() == [2, 1]
    with pytest.raises(
        ValueError, match=r"has no label for 4 of the 6 training samples, the first is number 0: give one"
    ):
        FileLabels(p=1.0, path=path).of(SAMPLES, num_classes=3)


@pytest.mark.parametrize(
    ("columns", "arguments", "samples", "match"),
    [
        (
            {"given": GIVEN[:5]},
            {},
            SAMPLES,
            "has 5 labels, and insects has 6 training samples, before any are left out",
        ),
        ({"given": [0, 2, 1, 3, 1, 0]}, {}, SAMPLES, r"column given must be in \[0, 3\), got 3 in place 3"),
        ({"given": [0, 2, 1, -1, 1, 0]}, {}, SAMPLES, r"column given must be in \[0, 3\), got -1 in place 3"),
        ({"given": [0, 2, 1, "cat", 1, 0]}, {}, SAMPLES, "column given must be whole numbers, got 'cat' in place 3"),
        (
            {"given": GIVEN, "clean": [0, 0, 1, 2, 1, 2]},
            {},
            SAMPLES,
            r"in clean are not those of insects in 2 of 6 samp",
        ),
        ({"given": GIVEN, "clean": [0, 0, 1, 2, 1, 2]}, {}, NAMED, r"the first is bee/2.png \(2, and 1 in the data\)"),
        (
            {"a_label": GIVEN, "b": GIVEN},
            {},
            SAMPLES,
            "^column must name the labels in .* which has the columns a_label, b",
        ),
        ({"clean": GIVEN}, {}, SAMPLES, "which has the columns none that could be meant"),
        (
            {"a_label": GIVEN},
            {"column": "a_lable"},
            SAMPLES,
            "^column=a_lable: .* has no such column; did you mean a_label?",
        ),
        ({"a_label": GIVEN}, {"column": "xyz"}, SAMPLES, "has no such column; it has a_label"),
        ({"a": GIVEN}, {"clean_column": "true"}, SAMPLES, "^clean_column=true: "),
        ({"given": GIVEN, "index": [0, 1, 2, 3, 4, 6]}, {}, SAMPLES, r"index must be in \[0, 6\) for insects, got 6"),
        ({"given": GIVEN, "index": [0, 1, 2, 3, 4, 4]}, {}, SAMPLES, "has number 4 more than once"),
        (
            {"given": GIVEN, "file": NAMES},
            {},
            SAMPLES,
            "goes by the names of files, and the samples of insects have none",
        ),
        (
            {"given": GIVEN, "file": [*NAMES[:5], "d/1.png"]},
            {},
            NAMED,
            "names 1 files that are not .* such as 'd/1.png'",
        ),
        ({"given": GIVEN, "file": [*NAMES[:5], NAMES[0]]}, {}, NAMED, "has ant/1.png more than once"),
    ],
)
def test_labels_that_do_not_fit_the_samples_are_refused(columns, arguments, samples, match, tmp_path):
    rule = FileLabels(p=1.0, path=write(tmp_path / "labels.csv", **columns), **arguments)
    with pytest.raises(ValueError, match=match):
        rule.of(samples, num_classes=3)


def test_a_rule_without_a_file_or_without_samples_is_refused(path):
    with pytest.raises(ValueError, match=r"^path must name a file of labels"):
        FileLabels(p=1.0)
    with pytest.raises(ValueError, match=r"its labels belong to samples; take FileLabels\.of"):
        Corruption(FileLabels(p=1.0, path=path), num_classes=3, seed=0)


def many(tmp_path, *, p, n=20_000, seed=0, **mode):
    """A rule that moves every label of n samples to the next class."""
    clean = torch.arange(n) % 3
    np.save(tmp_path / "next.npy", ((clean + 1) % 3).numpy())
    return FileLabels(p=p, path=str(tmp_path / "next.npy"), **mode).of(Samples(clean), num_classes=3), clean


def test_a_share_p_of_the_samples_has_the_label_of_the_file_and_it_is_another_share_in_each_epoch(tmp_path):
    rule, clean = many(tmp_path, p=0.3)
    corruption, index = Corruption(rule, num_classes=3, seed=5), torch.arange(len(clean))
    first, second = (corruption(clean, draw=draw, index=index) for draw in (0, 1))
    for target in (first, second):
        assert set(((target - clean) % 3).tolist()) == {0, 1}  # the clean one, or that of the file
        sigma = (0.3 * 0.7 / len(clean)) ** 0.5
        assert (target != clean).double().mean() == pytest.approx(0.3, abs=5 * sigma)
    assert ((first != clean) & (second != clean)).double().mean() == pytest.approx(0.09, abs=0.02)
    part = index[7::13]
    assert torch.equal(corruption(clean[part], draw=1, index=part), second[part])


def test_at_p_one_every_target_is_that_of_the_file_and_at_zero_none(tmp_path):
    for p in (0.0, 1.0):
        rule, clean = many(tmp_path, p=p, n=99)
        target = Corruption(rule, num_classes=3, seed=0)(clean, draw=4, index=torch.arange(99))
        assert torch.equal(target, rule.assigned.labels if p else clean)


def test_frozen_labels_are_the_same_in_every_epoch_and_what_a_small_p_redraws_a_greater_one_redraws_too(tmp_path):
    index = torch.arange(300)
    targets = []
    for p in (0.2, 0.6):
        rule, clean = many(tmp_path, p=p, n=300, frozen=True)
        corruption = Corruption(rule, num_classes=3, seed=1)
        targets.append(corruption(clean, draw=0, index=index))
        assert torch.equal(corruption(clean, draw=9, index=index), targets[-1])
    assert ((targets[0] != clean) <= (targets[1] != clean)).all()


def test_the_expected_target_is_the_mean_of_the_drawn_ones(path):
    rule = FileLabels(p=0.25, path=path, expected=True).of(SAMPLES, num_classes=3)
    law = Corruption(rule, num_classes=3, seed=0)(CLEAN, draw=0, index=torch.arange(6), factor=0.5)
    drawn = FileLabels(p=0.125, path=path).of(SAMPLES, num_classes=3)
    number = 4000
    draw, index = torch.arange(number).repeat_interleave(6), torch.arange(6).repeat(number)
    draws = Corruption(drawn, num_classes=3, seed=0)(CLEAN[index], draw=draw, index=index)
    mean = torch.nn.functional.one_hot(draws.view(number, 6), 3).double().mean(dim=0)
    assert law.sum(dim=1).tolist() == pytest.approx([1] * 6)
    assert (law - mean).abs().max() < 5 * (0.125 * 0.875 / number) ** 0.5
    assert law[1].tolist() == [0.875, 0, 0.125]


@pytest.mark.parametrize("mode", [{}, {"frozen": True}, {"expected": True}])
@pytest.mark.parametrize("seeds", [[0, 1], [0, 0, 1, 1], [2, 2]])
def test_replicas_have_the_targets_that_each_has_alone_each_seed_with_its_own_samples(mode, seeds, tmp_path):
    n, rules, labels = 50, [], []
    of_seed = {}
    for seed in dict.fromkeys(seeds):
        clean = (torch.arange(n) + seed) % 3
        np.save(tmp_path / f"{seed}.npy", ((clean + 1 + seed) % 3).numpy())
        rule = FileLabels(p=1.0, path=str(tmp_path / f"{seed}.npy"), **mode).of(Samples(clean), num_classes=3)
        of_seed[seed] = FileLabels(p=1.0, path="labels.npy", assigned=rule.assigned, **mode), clean
    for number, seed in enumerate(seeds):
        rule, clean = of_seed[seed]
        p = (0.3, 0.8)[number % 2]
        rules.append(FileLabels(p=p, path=rule.path, assigned=rule.assigned, **mode))
        labels.append(clean)
    index = torch.arange(n).expand(len(seeds), n)
    draw = torch.full((n,), 3)
    together = Corruption(rules, num_classes=3, seed=seeds)(torch.stack(labels), draw=draw, index=index)
    for row, rule, clean, seed in zip(together, rules, labels, seeds, strict=True):
        alone = Corruption(rule, num_classes=3, seed=seed)(clean, draw=draw, index=index[0])
        assert torch.equal(row, alone)


def test_samples_that_the_labels_do_not_belong_to_are_refused(path):
    corruption = Corruption(FileLabels(p=0.0, path=path).of(SAMPLES, num_classes=3), num_classes=3, seed=0)
    with pytest.raises(ValueError, match="the label of sample 2 belongs to another class"):
        corruption(torch.tensor([0, 0]), draw=0, index=torch.tensor([0, 2]))
    with pytest.raises(ValueError, match=r"index must be in \[0, 6\), as many as have labels, got 6"):
        corruption(torch.tensor([0]), draw=0, index=torch.tensor([6]))


def test_the_fingerprint_is_of_the_contents(path, tmp_path):
    other = write(tmp_path / "moved.csv", clean=CLEAN.tolist(), given=GIVEN)
    changed = write(tmp_path / "changed.csv", clean=CLEAN.tolist(), given=[*GIVEN[:5], 1])
    first, second, third = (FileLabels(p=1.0, path=place).fingerprint() for place in (path, other, changed))
    assert first == second != third and first["bytes"] == third["bytes"]
