"""What the W&B workspace shows: sections of panels, each with the metrics that it draws."""

from dataclasses import dataclass
from typing import Literal

STRENGTH = "config.noise.p"
STEP = "trainer/global_step"


_PATTERNS = {"<layer>": "[^/=]+", "<p>": "[^/]+(/lr=[^/]+)?"}


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: of the panel.
        kind: `lines` over the steps and `bars` show the mean over the runs of each p with one standard error, `points`
            the last value of each run; of runs that train many networks, `replicas` shows the mean of each p as a
            line, `networks` a point for each network, `table` all of them; `pictures` are what runs draw.
        y: names of what is drawn: metrics, columns of the table, or pictures. `<layer>` stands for every layer, `<p>`
            for every p of a run.
        x: what it is drawn against.
    """

    title: str
    kind: Literal["lines", "bars", "points", "replicas", "networks", "table", "pictures"]
    y: tuple[str, ...]
    x: str = ""

    @property
    def pattern(self) -> str | None:
        """The regular expression of the names that are drawn; None if they are names as they stand.

        Example:
            >>> Panel("Norms", "lines", ("norm/<layer>",)).pattern
            '^norm/[^/=]+$'
        """
        (name, *_) = self.y
        for word, pattern in _PATTERNS.items():
            if word in name:
                return f"^{name.replace(word, pattern)}$"
        return None


@dataclass(frozen=True)
class Section:
    """Panels under one title.

    Attributes:
        title: of the section.
        panels: in their order.
        is_open: whether they are shown at once.
    """

    title: str
    panels: tuple[Panel, ...]
    is_open: bool = False


def _lines(title: str, *metrics: str) -> Panel:
    return Panel(title, "lines", metrics, STEP)


def _replicas(title: str, metric: str) -> Panel:
    return Panel(title, "replicas", (f"{metric}/p=<p>",), STEP)


def _against_p(title: str, metric: str) -> Panel:
    return Panel(title, "points", (metric,), STRENGTH)


SECTIONS = (
    Section(
        "Against p",
        (
            _against_p("Test error", "test/error"),
            _against_p("Train error, clean labels", "train/error"),
            _against_p("Active fraction, test", "test/active_fraction"),
            _against_p("a(p): active neurons, train", "train/active_neurons"),
            _against_p("Dead fraction, train", "train/dead_fraction"),
            Panel("Test error by p", "bars", ("test/error",), STRENGTH),
            Panel("Active fraction by p", "bars", ("test/active_fraction",), STRENGTH),
        ),
        is_open=True,
    ),
    Section(
        "Over time",
        (
            _lines("Test error", "test/error"),
            _lines("Train error, clean labels", "train/error"),
            _lines("Loss on noisy and clean labels", "train/loss", "train/clean_loss"),
            _lines("Active fraction, test", "test/active_fraction"),
            _lines("Active neurons, train", "train/active_neurons"),
            _lines("Dead fraction, train", "train/dead_fraction"),
        ),
        is_open=True,
    ),
    Section(
        "Layers",
        (
            _lines("Active fraction, train", "train/active_fraction/<layer>"),
            _lines("Dead fraction, train", "train/dead_fraction/<layer>"),
            _lines("Norm of each weight", "norm/<layer>"),
            _lines("Mean of each bias", "bias_mean/<layer>"),
        ),
    ),
    Section(
        "Neurons",
        (
            _lines("Died, revived since last time", "train/died_neurons", "train/revived_neurons"),
            _lines("Associated with a class, train", "train/associated_neurons"),
            _lines("Always on, train", "train/always_on_fraction"),
        ),
    ),
    Section(
        "Noise",
        (
            _lines("Labels changed", "noise/effective_rate", "noise/measured_rate"),
            Panel("Measured against expected", "points", ("noise/measured_rate",), "noise/effective_rate"),
            _against_p("Expected", "noise/effective_rate"),
        ),
    ),
    Section(
        "Stacked networks",
        (
            Panel("Figures with 95 % bands", "pictures", ("figures/against_p", "figures/curves")),
            Panel("Test error of each network", "networks", ("test/error",), "p"),
            Panel("a(p) of each network", "networks", ("train/active_neurons",), "p"),
            _replicas("Test error", "test/error"),
            _replicas("Active fraction, test", "test/active_fraction"),
            _replicas("Active neurons, train", "train/active_neurons"),
            _replicas("Dead fraction, train", "train/dead_fraction"),
            _replicas("Norm of the hidden weights", "norm/hidden"),
            _replicas("Labels changed", "noise/measured_rate"),
            Panel("Every network", "table", ("replicas",)),
        ),
    ),
)
