"""A SLURM of one machine: the four of its commands that submitit calls, each of them this file.

The jobs of an array start at once, and a job that is requeued starts again as soon as its process has ended. What was
asked of `scontrol` stands in the file `calls`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(os.environ.get("SLURM_STAND_IN", "."))  # of what was called, requested and ended
ONE_TASK = {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NNODES": "1"}
ONE_TASK |= {"SLURM_JOB_NAME": "train", "SLURM_JOB_NODELIST": "localhost", "SLURM_NODELIST": "localhost"}


def install_commands(folder: Path) -> dict[str, str]:
    """Write the commands into a folder, and return the variables with which they are found."""
    folder.mkdir()
    (folder / "calls").touch()
    for name in ("sbatch", "srun", "scontrol", "sacct"):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_STAND_IN": str(folder)}


def sbatch(script: str) -> None:
    """Start each job of an array, and print the array's number."""
    array = re.search(r"#SBATCH --array=0-(\d+)", Path(script).read_text())
    for number in range(int(array[1]) + 1 if array else 1):
        command = [sys.executable, __file__, "job", script, str(number)]
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    print("Submitted batch job 7")


def job(script: str, number: str) -> None:
    """Run one job of array 7, and run it again as long as it asks for that."""
    name = f"7_{number}"
    array = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": number, "SLURM_JOB_ID": str(8 + int(number))}
    again = FOLDER / f"{name}.requeue"
    while True:
        subprocess.run(["bash", script], env={**os.environ, **ONE_TASK, **array}, check=False)
        if not again.exists():
            break
        again.unlink()
    (FOLDER / f"{name}.end").touch()


def srun(*arguments: str) -> None:
    """Run the one task of a job, with its output in the file that is named."""
    place = arguments.index("--output") + 1
    names = {"%A": os.environ["SLURM_ARRAY_JOB_ID"], "%a": os.environ["SLURM_ARRAY_TASK_ID"], "%t": "0"}
    output = re.sub("%[Aat]", lambda found: names[found[0]], arguments[place])
    with open(output, "a") as file:
        done = subprocess.run(arguments[place + 1 :], stdout=file, stderr=subprocess.STDOUT, check=False)
    sys.exit(done.returncode)


def scontrol(*arguments: str) -> None:
    """Write down what is asked, and that a job is to start again."""
    with open(FOLDER / "calls", "a") as file:
        print(*arguments, file=file)
    (FOLDER / f"{arguments[-1]}.requeue").touch()


def sacct(*_: str) -> None:
    """Print whether each of two jobs has ended."""
    print("JobID|State|NodeList")
    for name in ("7_0", "7_1"):
        print(f"{name}|{'COMPLETED' if (FOLDER / f'{name}.end').exists() else 'RUNNING'}|localhost")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
