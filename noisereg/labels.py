"""What a metric is called where people read it, its unit, its possible values, and how many digits are shown."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

INTERVAL = "mean ± 95 % t interval, [its ends] where cut"  # what `Label.format_mean` writes
DIVERGED = ("non-finite weights", "non-finite loss")  # what ended replicas that have no values of their end
_FIRST_INEXACT = 2**53  # from here on a float has not all digits of a whole number


@dataclass(frozen=True)
class Label:
    """How a metric is shown.

    Attributes:
        words: what it is, without its unit.
        unit: of the numbers that are shown; empty for counts and plain numbers.
        factor: that turns the metric's own unit into the one that is shown, such as 100 for percent.
        digits: behind the point of the numbers that are shown.
        lowest: value that is possible, in the metric's own unit; no interval is shown beyond it.
        highest: likewise.

    Example:
        >>> label_of("test/active_fraction").title
        'active fraction, test (%)'
    """

    words: str
    unit: str = ""
    factor: float = 1
    digits: int = 4
    lowest: float = -math.inf
    highest: float = math.inf

    @property
    def title(self) -> str:
        """The words with the unit behind them, as over a column or a panel."""
        return f"{self.words} ({self.unit})" if self.unit else self.words

    def format(self, value: float) -> str:
        """Return a value of the metric in the unit that is shown.

        Example:
            >>> label_of("test/error").format(0.12345), label_of("train/active_neurons").format(1234.5)
            ('12.35 %', '1,234.5')
        """
        return f"{self._digits(value)} {self.unit}".rstrip()

    def cut(self, value: float) -> float:
        """Return a value, or the nearest one that is possible, in the unit that is shown; nan stays nan.

        Example:
            >>> label_of("test/error").cut(0.125), label_of("test/error").cut(-0.1)
            (12.5, 0)
        """
        return self.factor * min(max(value, self.lowest), self.highest)

    def format_mean(self, mean: float, low: float, high: float, *, is_difference: bool = False) -> str:
        """Return a mean with half its interval, or with both ends of one that is cut at what is possible.

        Args:
            mean: in the metric's own unit; nan for none, which is an empty text.
            low: lower end of the interval; nan for no interval.
            high: upper end.
            is_difference: whether the three are of a difference of two values.

        Returns:
            The text, in the unit that is shown, which is not in it.

        Example:
            >>> error = label_of("test/error")
            >>> error.format_mean(0.25, 0.24, 0.26), error.format_mean(0.01, -0.01, 0.03)
            ('25.00±1.00', '1.00 [0, 3.00]')
        """
        if math.isnan(mean):
            return ""
        lowest, highest = (self.lowest, self.highest)
        if is_difference:
            lowest, highest = (lowest - highest, highest - lowest)
        low, high = max(low, lowest), min(high, highest)
        if math.isnan(low) or math.isnan(high):
            return self._digits(mean)
        text, half = self._digits(mean), self._digits((high - low) / 2)
        ends = [f"{self.factor * end:g}" if end in (lowest, highest) else self._digits(end) for end in (low, high)]
        is_seen = {self._digits(low), self._digits(high)} != {text}
        return f"{text} [{', '.join(ends)}]" if is_seen and not is_even(mean, low, high) else f"{text}±{half}"

    def _digits(self, value: float) -> str:
        return f"{self.factor * value:z,.{self.digits}f}"  # z: no -0.0


def is_even(mean: float, low: float, high: float) -> bool:
    """Return whether an interval lies evenly about a mean, so that half of its length says where it ends.

    Example:
        >>> is_even(0.3, 0.1, 0.5), is_even(0.3, 0.0, 0.7)
        (True, False)
    """
    return math.isclose(high - mean, mean - low, rel_tol=1e-6, abs_tol=1e-9 * abs(mean))


_MOMENTS = {
    "best": "at the epoch where it is lowest",
    "selected": "where val/error is lowest",
}
_SPLITS = {"train": "train", "test": "test", "val": "validation"}
_SHARE: dict[str, Any] = {"unit": "%", "factor": 100, "lowest": 0, "highest": 1}
_OF_A_SPLIT = {
    "error": Label("{split} error", digits=2, **_SHARE),
    "loss": Label("{split} loss"),
    "active_neurons": Label("active neurons, {split}", digits=1, lowest=0),
    "active_fraction": Label("active fraction, {split}", digits=1, **_SHARE),
    "dead_fraction": Label("never active, {split}", digits=1, **_SHARE),
    "dead_channel_fraction": Label("channels never active, {split}", digits=1, **_SHARE),
    "dormant_fraction": Label("dormant, {split}", digits=1, **_SHARE),
    "always_on_fraction": Label("always active, {split}", digits=1, **_SHARE),
    "associated_neurons": Label("associated with a class, {split}", digits=0, lowest=0),
    "associated_by_rate_neurons": Label("associated with a class by rate, {split}", digits=0, lowest=0),
    "label_entropy": Label("entropy of a neuron's classes, {split}", "bits", digits=3, lowest=0),
    "died_neurons": Label("died since the last evaluation, {split}", digits=0, lowest=0),
    "revived_neurons": Label("revived since the last evaluation, {split}", digits=0, lowest=0),
    "distinct_neurons": Label("distinct neurons, {split}", digits=0, lowest=0),
    "distinct_active_neurons": Label("distinct active neurons, {split}", digits=1, lowest=0),
    "distinct_active_fraction": Label("distinct active fraction, {split}", digits=1, **_SHARE),
    "wrong_labels": Label("samples with a wrong label, {split}", digits=0, lowest=0),
    "memorized": Label("wrong labels learned, {split}", digits=2, **_SHARE),
    "ece": Label("calibration error, {split}", digits=2, **_SHARE),
    "nll": Label("negative log-likelihood, {split}", lowest=0),
    "brier": Label("Brier score, {split}", lowest=0, highest=2),
    "gradient_norm_squared": Label("squared norm of the gradient of the outputs, {split}", digits=1, lowest=0),
    "tightness": Label("tightness of the clusters, {split}", digits=3, lowest=0),
}
_GROUPS = ("right", "wrong")  # of samples, by their label, under noise that stays
_OF_A_GROUP = {
    "error": Label("{split} error where the label is {group}", digits=2, **_SHARE),
    "loss": Label("{split} loss of the given label, {group} ones"),
    "active_neurons": Label("active neurons where the label is {group}, {split}", digits=1, lowest=0),
    "active_fraction": Label("active fraction where the label is {group}, {split}", digits=1, **_SHARE),
}
_OF_A_WEIGHT = {
    "norm": Label("weight norm", digits=3, lowest=0),
    "bias_mean": Label("mean bias"),
    "bias_min": Label("smallest bias"),
    "bias_q10": Label("10 % quantile of the bias"),
    "bias_q50": Label("median bias"),
    "bias_q90": Label("90 % quantile of the bias"),
    "bias_max": Label("largest bias"),
}
_OTHERS = {
    "lr": Label("learning rate"),
    "train/error": replace(_OF_A_SPLIT["error"], words="train error, clean labels"),
    "train/loss": Label("train loss, as trained"),
    "train/clean_loss": Label("train loss, clean labels"),
    "train/largest_output": Label("largest output, train", digits=3, lowest=0),
    "train/skipped_steps": Label("skipped steps", digits=0, lowest=0),
    "noise/effective_rate": Label("labels expected to change", digits=2, **_SHARE),
    "noise/measured_rate": Label("labels that changed", digits=2, **_SHARE),
}


def label_of(metric: str) -> Label:
    """Return how a metric is shown.

    Args:
        metric: its name: `<split>/<quantity>` with a layer or without, `norm/<layer>` and its like, or one of these
            with `best/` or `selected/` in front; any other name stands for itself.

    Example:
        >>> label_of("norm/hidden").title, label_of("train/active_fraction/layer3.2.relu2").title
        ('weight norm, hidden', 'active fraction, train, layer3.2.relu2 (%)')
        >>> label_of("best/test/error").title
        'test error at the epoch where it is lowest (%)'
        >>> label_of("steps").title
        'steps'
    """
    first, _, rest = metric.partition("/")
    if moment := moment_of(metric):
        label = label_of(rest.removesuffix("/epoch"))
        if rest.endswith("/epoch"):
            return Label(f"epoch of the lowest {label.words if first == 'best' else 'val/error'}", digits=0, lowest=0)
        return replace(label, words=f"{label.words} {moment}")
    whole, _, layer = rest.partition("/")
    quantity, above = _split_threshold(whole)
    of_a_group, _, group = quantity.rpartition("_")
    if metric in _OTHERS:
        return _OTHERS[metric]
    if first in _OF_A_WEIGHT:
        label, layer = _OF_A_WEIGHT[first], rest
    elif first in _SPLITS and quantity in _OF_A_SPLIT:
        label = _OF_A_SPLIT[quantity]
    elif first in _SPLITS and group in _GROUPS and of_a_group in _OF_A_GROUP:
        label = _OF_A_GROUP[of_a_group]
    else:
        return Label(metric)
    words = label.words.format(split=_SPLITS.get(first), group=group) + above
    return replace(label, words=f"{words}, {layer}" if layer else words)


def in_words(value: Any) -> str:
    """Return the value of a setting as words or a number: a whole one with all its digits, another with twelve.

    Example:
        >>> in_words(0.1 + 0.2), in_words(240.0), in_words(20240101), in_words(1e30), in_words("MLP")
        ('0.3', '240', '20240101', '1e+30', 'MLP')
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    if isinstance(value, Integral):
        return str(int(value))
    number = float(value)
    is_exact = number.is_integer() and abs(number) < _FIRST_INEXACT
    return str(int(number)) if is_exact else f"{number:.12g}"


def name_replica(values: Mapping[str, Any], *, between: str = " ") -> str:
    """Return the name of a replica, or of several, by what tells it from the others.

    Example:
        >>> name_replica({"p": 0.2, "seed": 20240101}), name_replica({"p": 0, "lr": 1e-05}, between="/")
        ('p=0.2 seed=20240101', 'p=0/lr=1e-05')
    """
    return between.join(f"{key}={in_words(value)}" for key, value in values.items())


def without_threshold(metric: str) -> str:
    """Return the name that a metric would have if active meant an output > 0.

    Example:
        >>> without_threshold("test/active_fraction_above_0.1_of_rms/relu1")
        'test/active_fraction/relu1'
    """
    first, sign, rest = metric.partition("/")
    quantity, slash, layer = rest.partition("/")
    return f"{first}{sign}{_split_threshold(quantity)[0]}{slash}{layer}" if first in _SPLITS else metric


def measured_as(metrics: Iterable[str], measured: Iterable[str]) -> list[str]:
    """Return the names under which some metrics were measured: with a threshold, without one, or both.

    Args:
        metrics: names without a threshold.
        measured: names of all that was measured.

    Example:
        >>> measured_as(["test/error", "test/active_fraction"], ["test/active_fraction_above_0.1", "test/error"])
        ['test/error', 'test/active_fraction_above_0.1']
    """
    bare = {str(name): without_threshold(str(name)) for name in measured}
    return [name for metric in metrics for name in bare if bare[name] == metric]


def _split_threshold(quantity: str) -> tuple[str, str]:
    """Split the threshold off a quantity, and return it in words; "" if it has none.

    Example:
        >>> _split_threshold("active_fraction_above_0.1_of_rms"), _split_threshold("dead_fraction_abs_above_0.5")
        (('active_fraction', ', above 0.1 of rms'), ('dead_fraction', ', magnitude above 0.5'))
    """
    bare, above, limit = quantity.partition("_above_")
    if not above:
        return quantity, ""
    magnitude = "magnitude " if bare.endswith("_abs") else ""
    return bare.removesuffix("_abs"), f", {magnitude}above {limit.replace('_', ' ')}"


def moment_of(metric: str) -> str:
    """Return when a number was measured, in words; empty for the end of training.

    Example:
        >>> moment_of("selected/test/error"), moment_of("test/error")
        ('where val/error is lowest', '')
    """
    first, _, rest = metric.partition("/")
    return _MOMENTS.get(first, "") if "/" in rest else ""
