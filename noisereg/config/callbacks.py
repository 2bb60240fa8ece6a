"""The callbacks of a run: one of each of ours, as two would undo or overwrite what the other does."""

from noisereg.config.check import Settings
from noisereg.config.sections import same_target
from noisereg.errors import ConfigError

_MADE_OF = {"LabelCorruption": "noise", "StopWhenFitted": "stopping.extra_epochs"}
_ONE_OF_EACH = ("SparsityMonitor", "NormMonitor", "GradientMonitor", "FiniteLoss", "RunCheckpoint")


def check_callbacks(settings: Settings) -> None:
    """Refuse a callback that the run makes itself, and a second one of the same kind.

    Of `SparsityMonitor` there may be several, by different names.

    Args:
        settings: the whole configuration, as plain values.

    Raises:
        ConfigError: naming the key of the callback.

    Example:
        >>> check_callbacks({"callbacks": {"mine": {"_target_": "noisereg.callbacks.LabelCorruption"}}})
        Traceback (most recent call last):
        noisereg.errors.ConfigError: callbacks.mine: the run makes its LabelCorruption of noise; give that
    """
    known: dict[tuple[str, str], str] = {}
    for key, section in settings["callbacks"].items():
        for kind, source in _MADE_OF.items():
            if same_target(section, f"noisereg.callbacks.{kind}"):
                raise ConfigError(f"callbacks.{key}: the run makes its {kind} of {source}; give that")
        for kind in _ONE_OF_EACH:
            if same_target(section, f"noisereg.callbacks.{kind}"):
                name = str(section.get("name", "")) if kind == "SparsityMonitor" else ""
                first = known.setdefault((kind, name), key)
                if first != key:
                    mend = f"; give this one a name: callbacks.{key}.name={key}" if kind == "SparsityMonitor" else ""
                    raise ConfigError(f"callbacks.{key}: callbacks.{first} is a {kind} already{mend}")
