"""What networks leave at the end of their training, made up for the tests of the report's figures."""

from pathlib import Path
from typing import Any

import numpy as np
from runs.run_folders import CONFIG, write_run

BINS = 15
LAYERS = ("relu", "layer1.0.relu1", "layer1.0.relu2", "layer2.0.relu1", "layer2.0.relu2")


def drawn(seed: int, *, samples: int = 200, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Draw probabilities and labels of some samples."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.standard_normal((samples, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, generator.integers(0, classes, samples)


def bins_of(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Count samples by confidence in 15 equal bins, one after the other."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    inside = [(confidence > place / BINS) & (confidence <= (place + 1) / BINS) for place in range(BINS)]
    means = [[values[own].mean() if own.any() else np.nan for own in inside] for values in (confidence, right)]
    return {
        "reliability_count": np.array([own.sum() for own in inside]),
        "reliability_confidence": np.array(means[0]),
        "reliability_accuracy": np.array(means[1]),
    }


def plane_of(seed: int, *, classes: tuple[int, int, int] = (0, 1, 2)) -> dict[str, np.ndarray]:
    """Place two samples of each class beside its template in both splits."""
    templates = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0 + seed]], dtype=np.float32)
    labels = np.repeat(classes, 2)
    points = np.repeat(templates, 2, axis=0) + np.float32(0.125)
    splits = {f"plane_{split}_points": points for split in ("train", "test")}
    splits |= {f"plane_{split}_labels": labels for split in ("train", "test")}
    return {"plane_classes": np.array(classes), "plane_templates": templates, **splits}


def arrays_of(seed: int) -> dict[str, np.ndarray]:
    """Make up all that a network leaves."""
    return bins_of(*drawn(seed)) | plane_of(seed)


def active(*fractions: float) -> dict[str, float]:
    """Name the active fractions of layers on both splits."""
    shares = dict(zip(LAYERS, fractions, strict=True))
    return {f"{split}/active_fraction/{layer}": share for split in ("test", "train") for layer, share in shares.items()}


def write_networks(folder: Path, **experiment: Any) -> Path:
    """Write an experiment of two arms, one network each, as its run leaves it."""
    dataset = {"_target_": "noisereg.datasets.Cifar10", "root": "data"}
    fractions = {"none": (0.5, 0.5, 0.4, 0.5, 0.5), "smoothing": (0.5, 0.45, 0.35, 0.3, 0.25)}
    rows = [
        {
            "arm": arm,
            "p": 0.1 * place,
            "seed": 0,
            "test/error": 0.1,
            "test/tightness": 0.25 / (1 + place),
            **active(*own),
        }
        for place, (arm, own) in enumerate(fractions.items())
    ]
    for place, row in enumerate(rows):
        config = {"dataset": dataset, "noise": CONFIG["noise"] | {"p": row["p"]}}
        write_run(folder / row["arm"], config=config, replicas=[row], analysis=arrays_of(place))
    arms = {"experiment": {"arms": {row["arm"]: [] for row in rows}}}
    known = {"id": "F7", "title": "Figure 7", **experiment}
    return write_run(folder, config={"dataset": dataset, **arms}, replicas=rows, experiment=known)
