"""Sweeps on Slurm and Ray: what is written, what is refused, and both for real where they are installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands.one_node import free_port, has_slurm, slurm
from tests.conftest import ROOT

from hookline.sweep.jobs import read_sweep

SHORT = ["runner.max_epochs=1", "runner.device=cpu", "data.batch_size=512", "logger=csv", "hooks.lr_curve=null"]


def states(folder: Path) -> list[str]:
    return [job.state for job in read_sweep(folder).jobs]


def attempts(folder: Path) -> list[int]:
    return [json.loads(file.read_text())["attempts"] for file in sorted(folder.glob("*/state.json"))]


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "src" / "train.py"), "-m", "launcher.name=mine", *SHORT, *arguments]


@pytest.mark.parametrize("launcher", ["hookline", "slurm"])
def test_emit_writes_one_command_for_each_job_and_a_script_and_runs_nothing(train, launcher):
    done = train(
        *("-m", f"hydra/launcher={launcher}", "launcher.name=mine", "launcher.emit=true", "launcher.slots=2"),
        *("seed=0,1,2", *SHORT),
    )
    assert done.status == 0, done.err
    sweep = done.cwd / "outputs" / "sweeps" / "mine"
    assert states(sweep) == ["waiting"] * 3
    commands = (sweep / "jobs.txt").read_text().splitlines()
    assert [str(job.directory.resolve()) in line for job, line in zip(read_sweep(sweep).jobs, commands, strict=True)]
    script = (sweep / "array.sh").read_text()
    assert "#SBATCH --array=0-2%2" in script
    assert "#SBATCH --cpus-per-task=" in script
    assert subprocess.run(["bash", "-n", sweep / "array.sh"], check=False).returncode == 0
    assert "sbatch outputs/sweeps/mine/array.sh" in done.out


def test_each_task_of_the_script_runs_its_own_line(tmp_path):
    from hookline.sweep.slurm import ArrayOptions, script_of

    (tmp_path / "jobs.txt").write_text("exec echo 'first one'\nexec echo second\n")
    script = script_of(tmp_path, tmp_path / "jobs.txt", 2, ArrayOptions(setup=["echo set up"], partition="a b"))
    assert "#SBATCH '--partition=a b'" in script
    for task, word in (("0", "first one"), ("1", "second")):
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": task}
        ran = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
        assert ran.stdout == f"set up\n{word}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hydra/launcher=slurm", "launcher.job_timeout=5"], "launcher.job_timeout=5: must be null"),
        (["hydra/launcher=slurm", "hydra.launcher.array.cpus_per_task=0"], "hydra.launcher.array.cpus_per_task=0: "),
        (["hydra/launcher=ray", "hydra.launcher.cpus_per_job=0"], "hydra.launcher.cpus_per_job=0: must be an integer"),
        (["hydra/launcher=ray", "hydra.launcher.gpus_per_job=-1"], "hydra.launcher.gpus_per_job=-1: "),
        (["launcher.emit=3"], "launcher.emit=3: must be true or false"),
    ],
)
def test_wrong_options_end_in_one_line(train, arguments, message):
    done = train("-m", "seed=0,1", *arguments)
    assert done.status == 2
    assert f"error: {message}" in done.err


def test_without_slurm_or_ray_the_message_says_what_to_install(train, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = train("-m", "seed=0,1", "hydra/launcher=slurm", *SHORT)
    assert done.status == 2
    assert "there is no sbatch here; install" in done.err or "there is no squeue here; install" in done.err
    monkeypatch.setitem(sys.modules, "ray", None)
    done = train("-m", "seed=0,1", "hydra/launcher=ray", *SHORT)
    assert done.status == 2
    assert "hydra/launcher=ray: needs the package ray; install with: pip install -e '.[ray]'" in done.err


@pytest.mark.slow
@pytest.mark.skipif(not has_slurm(), reason="no Slurm, or not root")
def test_an_array_runs_on_slurm_and_the_same_command_goes_on(tmp_path):
    given = command("hydra/launcher=slurm", "seed=0,1,2", "data.batch_size=64")
    sweep = tmp_path / "outputs" / "sweeps" / "mine"
    with slurm(tmp_path / "slurm"):
        watching = subprocess.Popen(given, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        until = time.monotonic() + 120
        while not list(sweep.glob("*/metrics.csv")) and time.monotonic() < until:
            time.sleep(0.2)
        watching.kill()  # the array goes on without it
        watching.wait()
        again = subprocess.run(given, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr + again.stdout
        assert states(sweep) == ["done"] * 3
        assert attempts(sweep) == [1, 1, 1]
        third = subprocess.run(given, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "done 3, failed 0, left 0" in third.stdout
        assert attempts(sweep) == [1, 1, 1]


@pytest.fixture
def two_nodes() -> Iterator[str]:
    """A Ray cluster of two nodes with a core each; its processes are ended by their numbers."""
    pytest.importorskip("ray")
    port, place = free_port(), Path("/tmp") / f"ray-{os.getpid()}"  # the paths of its sockets must be short
    address, memory = f"127.0.0.1:{port}", "--object-store-memory=100000000"
    start = ["ray", "start", "--num-cpus=1", "--disable-usage-stats", memory]
    head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={place}"]
    node = [f"--address={address}", "--min-worker-port=20000", "--max-worker-port=20100"]
    try:
        for options in (head, node):
            subprocess.run([*start, *options], check=True, capture_output=True)
        yield address
    finally:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_text()
            except OSError:
                continue
            if str(place) in words or (address in words and "ray" in words):
                os.kill(int(process.name), signal.SIGKILL)  # Ray's gcs_server may outlive a SIGTERM
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.slow
def test_a_sweep_runs_on_both_nodes_of_a_ray_cluster_and_ends_with_its_launcher(two_nodes, tmp_path):
    given = command("hydra/launcher=ray", f"hydra.launcher.address={two_nodes}", "seed=0,1", "runner.max_epochs=20")
    sweep = tmp_path / "outputs" / "sweeps" / "mine"
    launcher = subprocess.Popen(given, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 180
    while len(list(sweep.glob("*/checkpoints/last.pt"))) < 2 and time.monotonic() < until:
        time.sleep(0.2)
    assert states(sweep) == ["running", "running"]
    launcher.kill()
    launcher.wait()
    until = time.monotonic() + 10
    while states(sweep) != ["interrupted", "interrupted"] and time.monotonic() < until:
        time.sleep(0.1)
    assert states(sweep) == ["interrupted", "interrupted"]
    again = subprocess.run(given, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert len(re.findall("^goes on: ", again.stdout, flags=re.M)) == 2
    assert states(sweep) == ["done", "done"]
    assert attempts(sweep) == [2, 2]
