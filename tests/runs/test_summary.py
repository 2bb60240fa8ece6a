import io

from rich.console import Console

from noisereg.runs.summary import replica_table, summary_metrics

METRICS = {
    "test/error": (0.40, 0.38, 0.42),
    "train/error": (0.0, 0.0, 0.0),
    "test/active_neurons": (117.0, 116.0, 118.0),
    "train/active_neurons": (39.0, 39.5, 38.5),
    "train/associated_neurons": (99.0, 98.0, 100.0),
    "noise/measured_rate": (0.1, 0.1, 0.1),
}


def printed(**names):
    rows = [
        {**names, "p": p, "seed": seed, **{metric: values[seed] for metric, values in METRICS.items()}}
        for p in (0.0, 0.2)
        for seed in range(3)
    ]
    stream = io.StringIO()
    Console(file=stream, width=80).print(replica_table(rows))
    return [line.split() for line in stream.getvalue().splitlines() if "±" in line and "mean" not in line]


def test_each_row_fits_a_terminal_of_80_columns_and_shows_means_with_half_their_t_interval():
    # of x - a, x, x + a the interval is x ± 4.3027 a / √3
    numbers = ["40.00±4.97", "0.00±0.00", "117.0±2.5", "39.0±1.2", "99±2", "10.00±0.00"]
    assert printed() == [["0", "3", *numbers], ["0.2", "3", *numbers]]
    assert printed(lr=0.00111) == [["0.00111", "0", "3", *numbers], ["0.00111", "0.2", "3", *numbers]]


def test_one_seed_has_no_interval():
    assert cells_of([{"p": 0.2, "seed": 0, "test/error": 0.25}]) == ["0.2", "1", "25.00"]


def test_a_mean_says_of_how_many_replicas_it_is_if_some_have_no_value():
    rows = [{"p": 0.2, "seed": 0, "test/error": 0.25}, {"p": 0.2, "seed": 1}]
    stream = io.StringIO()
    Console(file=stream, width=80).print(replica_table(rows))
    assert "25.00" in stream.getvalue() and "(1 of 2)" in stream.getvalue()


def test_the_table_says_what_ended_replicas_before_their_plan_did():
    ends = ("budget", "EarlyStopping", "zero train error", "non-finite loss")
    rows = [{"p": 0.2, "seed": seed, "test/error": 0.25, "ended_by": end} for seed, end in enumerate(ends)]
    stream = io.StringIO()
    Console(file=stream, width=80).print(replica_table(rows))
    assert "1 of 4 replicas ended early, by EarlyStopping" in " ".join(stream.getvalue().split())


def test_the_table_shows_what_is_active_above_a_threshold():
    names = ["test/active_fraction_above_0.1_of_rms", "test/active_fraction_above_0.1_of_rms/relu1"]
    assert summary_metrics([*names, "test/active_neurons_above_0.1_of_rms", "test/error"]) == ["test/error", names[0]]
    rows = [{"p": 0.2, "seed": seed, names[0]: 0.25, names[1]: 0.5} for seed in range(2)]
    assert cells_of(rows) == ["0.2", "2", "25.0±0.0"]


def cells_of(rows):
    stream = io.StringIO()
    Console(file=stream, width=80).print(replica_table(rows))
    (line,) = [line for line in stream.getvalue().splitlines() if line.strip().startswith("0.2")]
    return line.split()


def test_where_no_usual_metric_was_measured_the_first_others_are_shown():
    assert summary_metrics(["p", "train/loss", "ended_by", "norm/hidden"]) == ["train/loss", "norm/hidden"]
    assert cells_of([{"p": 0.2, "seed": 0, "train/loss": 0.25}]) == ["0.2", "1", "0.2500"]
