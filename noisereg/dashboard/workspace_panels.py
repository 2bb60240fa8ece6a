"""What the W&B workspace shows: sections of panels, each with the metrics that it draws."""

from dataclasses import dataclass
from typing import Literal

from noisereg.labels import label_of

STRENGTH = "config.noise.p"
STEP = "trainer/global_step"
_PATTERNS = {"<layer>": "[^/=]+", "<p>": "[^/]+(/lr=[^/]+)?"}


@dataclass(frozen=True)
class WorkspacePanel:
    """One panel.

    Attributes:
        kind: `lines` over the steps and `bars` show the mean over the runs of each p with one standard error, `points`
            the last value of each run; of runs that train many networks, `replicas` shows the mean of each p as a
            line, `networks` a point for each network, `table` all of them; `pictures` are what runs draw.
        y: names of what is drawn: metrics, columns of the table, or pictures. `<layer>` stands for every layer, `<p>`
            for every p of a run.
        x: what it is drawn against.
        title: of the panel; by default what the first metric is called.

    Example:
        >>> WorkspacePanel("lines", ("train/active_fraction/<layer>",)).title
        'Active fraction, train'
    """

    kind: Literal["lines", "bars", "points", "replicas", "networks", "table", "pictures"]
    y: tuple[str, ...]
    x: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        """Take the title from the table of labels if there is none."""
        if not self.title:
            words = label_of(self.y[0].removesuffix("/<layer>").removesuffix("/p=<p>")).words
            object.__setattr__(self, "title", words[:1].upper() + words[1:])

    @property
    def pattern(self) -> str | None:
        """The regular expression of the names that are drawn; None if they are names as they stand.

        Example:
            >>> WorkspacePanel("lines", ("norm/<layer>",)).pattern
            '^norm/[^/=]+$'
        """
        (name, *_) = self.y
        for word, pattern in _PATTERNS.items():
            if word in name:
                return f"^{name.replace(word, pattern)}$"
        return None


@dataclass(frozen=True)
class WorkspaceSection:
    """Panels under one title.

    Attributes:
        title: of the section.
        panels: in their order.
        is_open: whether they are shown at once.
    """

    title: str
    panels: tuple[WorkspacePanel, ...]
    is_open: bool = False


def _lines(*metrics: str, title: str = "") -> WorkspacePanel:
    return WorkspacePanel("lines", metrics, STEP, title)


def _replicas(metric: str) -> WorkspacePanel:
    return WorkspacePanel("replicas", (f"{metric}/p=<p>",), STEP)


def _against_p(metric: str, title: str = "") -> WorkspacePanel:
    return WorkspacePanel("points", (metric,), STRENGTH, title)


#: The sections of the workspace, in their order on its page.
SECTIONS = (
    WorkspaceSection(
        "Against p",
        (
            _against_p("test/error"),
            _against_p("train/error"),
            _against_p("test/active_fraction"),
            _against_p("train/active_neurons", "a(p): active neurons, train"),
            _against_p("train/dead_fraction"),
            WorkspacePanel("bars", ("test/error",), STRENGTH, "Test error by p"),
            WorkspacePanel("bars", ("test/active_fraction",), STRENGTH, "Active fraction by p"),
        ),
        is_open=True,
    ),
    WorkspaceSection(
        "Over time",
        (
            _lines("test/error"),
            _lines("train/error"),
            _lines("train/loss", "train/clean_loss", title="Loss on noisy and clean labels"),
            _lines("test/active_fraction"),
            _lines("train/active_neurons"),
            _lines("train/dead_fraction"),
        ),
        is_open=True,
    ),
    WorkspaceSection(
        "Layers",
        (
            _lines("train/active_fraction/<layer>"),
            _lines("train/dead_fraction/<layer>"),
            _lines("norm/<layer>"),
            _lines("bias_mean/<layer>"),
        ),
    ),
    WorkspaceSection(
        "Neurons",
        (
            _lines("train/died_neurons", "train/revived_neurons", title="Died, revived since the last evaluation"),
            _lines("train/associated_neurons"),
            _lines("train/always_on_fraction"),
        ),
    ),
    WorkspaceSection(
        "Noise",
        (
            _lines("noise/effective_rate", "noise/measured_rate", title="Labels changed"),
            WorkspacePanel("points", ("noise/measured_rate",), "noise/effective_rate", "Measured against expected"),
            _against_p("noise/effective_rate"),
        ),
    ),
    WorkspaceSection(
        "Many networks",
        (
            WorkspacePanel("pictures", ("figures/against_p", "figures/curves"), title="Figures with 95 % bands"),
            WorkspacePanel("networks", ("test/error",), "p", "Test error of each network"),
            WorkspacePanel("networks", ("train/active_neurons",), "p", "a(p) of each network"),
            _replicas("test/error"),
            _replicas("test/active_fraction"),
            _replicas("train/active_neurons"),
            _replicas("train/dead_fraction"),
            _replicas("norm/hidden"),
            _replicas("noise/measured_rate"),
            WorkspacePanel("table", ("replicas",), title="Every network"),
        ),
    ),
)
