"""A real SLURM of one node, this machine, for as long as a test lasts: `apt-get install slurm-wlm munge`, as root."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_DAEMONS = ("munged", "slurmctld", "slurmd")
_CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
NodeName=localhost NodeHostname={host} CPUs=2 State=UNKNOWN
PartitionName=long Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def is_installed() -> bool:
    """Return whether a node can be started."""
    return os.geteuid() == 0 and all(map(shutil.which, _DAEMONS))


@contextmanager
def one_node(folder: Path) -> Iterator[dict[str, str]]:
    """Start a node with its files in a folder, and yield the variables with which its commands find it."""
    (folder / "state").mkdir(parents=True)
    (folder / "spool").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
        ports = [free.getsockname()[1] for free in (one, other)]
    configuration = _CONFIGURATION.format(folder=folder, host=socket.gethostname(), ports=ports)
    (folder / "slurm.conf").write_text(configuration)
    known = {"SLURM_CONF": str(folder / "slurm.conf")}
    names = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
    options = [f"--{option}={folder / name}" for option, name in {**names, "seed-file": "munge.seed"}.items()]
    try:
        for command in (["munged", "--force", *options], ["slurmctld"], ["slurmd", "-N", "localhost"]):
            subprocess.run(command, env={**os.environ, **known}, check=True, timeout=60, **_TO_NOWHERE)
        for _ in range(60):
            found = subprocess.run(
                ["sinfo", "-h", "-o", "%T"], env={**os.environ, **known}, capture_output=True, check=False
            )
            if found.stdout.strip() == b"idle":
                break
            time.sleep(1)
        yield known
    finally:
        for name in reversed(_DAEMONS):
            _end(folder / f"{name}.pid")


_TO_NOWHERE = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)  # a daemon would keep them open


def _end(pid_file: Path) -> None:
    with suppress(FileNotFoundError, psutil.NoSuchProcess):  # it did not start, or is gone
        daemon = psutil.Process(int(pid_file.read_text()))
        daemon.terminate()
        daemon.wait(60)
