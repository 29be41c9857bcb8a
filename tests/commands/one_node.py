"""Clusters of one machine, for tests: Slurm with one node, from Debian's packages slurmctld, slurmd and munge."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

SLURM = ("slurmctld", "slurmd", "munged", "sbatch", "squeue")

CONF = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={port1}
SlurmUser=root
SlurmdUser=root
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
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000
PartitionName=lab Nodes={host} Default=YES State=UP
"""


def has_slurm() -> bool:
    """Say whether this machine can be a Slurm cluster: the packages are there, and daemons may be started."""
    return os.getuid() == 0 and all(shutil.which(name) for name in SLURM)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """Be a cluster of one node, with all of its files in a folder, until the block ends."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    conf, host = folder / "slurm.conf", socket.gethostname().partition(".")[0]
    conf.write_text(CONF.format(folder=folder, host=host, port=free_port(), port1=free_port()))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    before, environment = os.environ.get("SLURM_CONF"), {**os.environ, "SLURM_CONF": str(conf)}
    os.environ["SLURM_CONF"] = str(conf)
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("log", "pid", "seed")]
    daemons: list[subprocess.Popen] = []
    output = (folder / "daemons.log").open("w")
    try:
        for command in (munge, ["slurmctld", "-D", "-c"], ["slurmd", "-D"]):
            daemons.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
            time.sleep(0.5)
        until = time.monotonic() + 60
        while "idle" not in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout:
            assert time.monotonic() < until, (folder / "daemons.log").read_text()[-2000:]
            time.sleep(0.5)
        yield
    finally:
        subprocess.run(["scancel", "--me"], capture_output=True)
        for daemon in reversed(daemons):  # the last words of each need the ones before
            daemon.terminate()
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
