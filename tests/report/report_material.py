"""A folder of runs of every kind, for tests of the whole report."""

from pathlib import Path

import numpy as np
from report.panel_rows import ends, training
from runs.run_folders import CONFIG, write_run

EVIL = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
CLAIMS = [
    {
        "id": "F1a",
        "says": "Noise raises it.",
        "metric": "test/error",
        "of": {"p": 0.2},
        "above": {"p": 0},
        "paper": 0.2,
    },
    {
        "id": "F1b",
        "says": f"It is {EVIL}.",
        "metric": "test/error",
        "of": {"p": 0},
        "paper": 49,
        "factor": 100,
        "unit": "%",
    },
    {"id": "F1c", "says": "It was not measured.", "metric": "nothing", "above": 0},
]
FIGURE = [
    {"title": f"error {EVIL}", "metrics": {"test/error": EVIL}, "x": "step"},
    {"title": "norms", "kind": "end", "metrics": {"norm/hidden": "W1"}, "lines": [{"label": EVIL, "value": 2}]},
    {"title": "neurons", "kind": "histograms", "of": {"p": 0.2, "seed": 0}},
    {"title": "T2", "kind": "check", "check": "T2"},
]
CHECK = {
    "id": "T2",
    "says": "It holds.",
    "place": "theorem 2",
    "measured": 1.0,
    "predicted": 1.0,
    "holds": True,
    "n": 4,
}
CURVE = {"x_title": EVIL, "y_title": "norm", "x": [1, 2], "measured": [1, 2], "predicted": [1, 2]}


def write_material(folder: Path) -> Path:
    """Write an experiment, a sweep over p of single runs, and runs that failed or were cut off."""
    replicas = ends()
    curves = training(replicas)
    write_run(
        folder / "experiment",
        config={"evil": EVIL},
        replicas=curves[curves["epoch"] == 2].to_dict("records"),
        curves=curves.to_csv(index=False),
        fires=np.random.default_rng(0).poisson(3, (len(replicas), 10, 40)),
        checks=[CHECK | {"curve": CURVE}],
        experiment={
            "id": "F1",
            "title": f"Figure 1 {EVIL}",
            "place": EVIL,
            "note": EVIL,
            "claims": CLAIMS,
            "figure": FIGURE,
        },
        command=f"python train.py {EVIL}",
        environment={"commit": "abc", "device": EVIL},
    )
    for number, row in enumerate(ends(strengths=(0.0, 0.1, 0.2), seeds=2)[:-1].to_dict("records")):
        noise = CONFIG["noise"] | {"p": row["p"]}
        write_run(folder / "sweep" / str(number), config={"noise": noise, "seed": row["seed"]}, replicas=[row])
    write_run(folder / "failed", status="failed", reason=f"ValueError: {EVIL}")
    write_run(folder / "cut", status="running")
    return folder
