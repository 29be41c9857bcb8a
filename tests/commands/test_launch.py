"""Runs of several processes from the command line: one directory, one voice, and one end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.commands.one_node import free_port, has_slurm, slurm
from tests.conftest import ROOT

from hookline.commands.hello import Hello
from hookline.commands.show_data import show_data
from hookline.commands.spawn import End
from hookline.commands.together import shared_arguments
from hookline.config.errors import ConfigError

TRAIN = str(ROOT / "src" / "train.py")
SHORT = [
    *("runner.max_epochs=2", "runner.device=cpu", "data.batch_size=240", "data.transforms.resize=null"),
    *("logger=csv", "hooks.lr_curve=null"),
]
HOOKS = """
import os, signal, time
from pathlib import Path
from hookline.hooks import Hook

class Fail(Hook):
    def after_train_iter(self, runner):
        if runner.clock.iter == 3 and runner.processes.rank == 1:
            raise ValueError("no luck")

class Slow(Hook):
    def between_updates(self, runner):
        Path("begun").touch()
        time.sleep(0.1)
"""
MISBEHAVING = """
import os
import signal
import time
from pathlib import Path
from hookline.commands import train
from hookline.hooks import Hook

class Misbehaving(Hook):
    def __init__(self, rank, stage):
        self.rank, self.stage = rank, stage

    def before_backward(self, runner):
        self.reach(runner, "before_backward")

    def after_train_iter(self, runner):
        self.reach(runner, "after_train_iter")

    def after_val_iter(self, runner):
        self.reach(runner, "after_val_iter")

    def after_run(self, runner):
        self.reach(runner, "after_run")

    def reach(self, runner, stage):
        if (runner.processes.rank, stage) == (self.rank, self.stage) and runner.clock.iter:
            self.misbehave()

class Hang(Misbehaving):
    def misbehave(self):
        Path("hung").touch()
        time.sleep(1000)

class Die(Misbehaving):
    def __init__(self, rank, stage):
        super().__init__(rank, stage)
        finish = train.finish

        def ended_by_the_launcher(*arguments):
            os.kill(os.getpid(), signal.SIGTERM)
            finish(*arguments)

        train.finish = ended_by_the_launcher

    def misbehave(self):
        os.kill(os.getpid(), signal.SIGKILL)

class FailAt(Misbehaving):
    def misbehave(self):
        raise ValueError("no luck")
"""
LIMIT = 150


def start(folder: Path, *command: str, **more: str) -> subprocess.Popen[str]:
    """Start a command in a folder, with what the tests themselves were started with taken out of its environment."""
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE") and "SLURM" not in k}
    environment |= {"PYTHONPATH": f"{ROOT / 'src'}:{folder}", "MARK": str(folder)} | more
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=pipe, stderr=pipe)


def run(folder: Path, *command: str) -> tuple[int, str, str]:
    """Run a command to its end; a test that hangs fails."""
    process = start(folder, *command)
    try:
        out, err = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    return process.returncode, out, err


def left(folder: Path) -> list[str]:
    """Return the processes that come from commands in a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={folder}".encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append((place / "cmdline").read_text())
        except OSError:
            continue
    return [command for command in found if command]


def children(pid: int) -> list[int]:
    """Return the processes of a run that a command has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"hookline.commands.spawn" in Path(f"/proc/{child}/cmdline").read_bytes()]


def until(condition: Callable[[], object], seconds: float = LIMIT) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def only_run(folder: Path) -> Path:
    (found,) = folder.glob("outputs/*/*/status.json")
    return found.parent


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def test_the_command_starts_processes_that_share_a_run(tmp_path):
    status, out, err = run(tmp_path, sys.executable, TRAIN, "distributed.processes=2", *SHORT)
    assert (status, err) == (0, ""), out + err
    lines = out.splitlines()
    assert lines[-1].startswith("done: val/top1 ")
    assert len(lines) == len(set(lines))
    folder = only_run(tmp_path)
    assert (read(folder, "status.json")["status"], read(folder, "result.json")["iterations"]) == ("completed", 12)
    assert "done: val/top1" in (folder / "logs" / "rank1.log").read_text()
    assert (folder / "train.log").read_text().count("done: val/top1") == 1
    assert [path.name for path in (folder / "logs").iterdir()] == ["rank1.log"]
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert len((folder / "metrics.csv").read_text().splitlines()) == 3
    assert read(folder, "result.json")["processes"] == 2
    assert "processes: 2, which share each batch of" in out
    assert "train.py distributed.processes=2 " in read(folder, "origin.json")[0]["command"]
    assert left(tmp_path) == []


def by_hand(folder: Path, rank: int, port: int, *arguments: str) -> subprocess.Popen[str]:
    variables = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    return start(folder, sys.executable, TRAIN, *SHORT, *arguments, **variables)


def told_once(processes: list[subprocess.Popen[str]], message: str) -> None:
    answers = [process.communicate(timeout=LIMIT) for process in processes]
    assert [process.returncode for process in processes] == [2] * len(processes), answers
    assert "".join(out for out, _ in answers) == ""
    told = "".join(err for _, err in answers).splitlines()
    assert len(told) == 1, answers
    (line,) = told
    assert re.match(message, line), line


def test_nodes_that_disagree_on_the_config(tmp_path):
    for name, rate in (("a", 0.1), ("b", 0.2)):
        options = tmp_path / name / "local" / "conf" / "optimizer"
        options.mkdir(parents=True)
        (options / "mine.yaml").write_text(f"defaults: [sgd, _self_]\nlr: {rate}\n")
    port = free_port()
    processes = [by_hand(tmp_path / name, rank, port, "optimizer=mine") for rank, name in enumerate("ab")]
    told_once(
        processes, r"error: process 1 \(.*\): the config differs from that of process 0: optimizer.lr is 0.2, not 0.1"
    )
    assert not (tmp_path / "b" / "outputs").exists()


def test_a_port_in_use(tmp_path):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told_once(
            [by_hand(tmp_path, 0, port)], rf"error: localhost:{port}: the processes cannot meet there: the port is in"
        )


@pytest.mark.slow
def test_a_mistake_is_told_once_by_processes_of_a_launcher(tmp_path):
    port = free_port()
    told_once([by_hand(tmp_path, rank, port, "optimizer.lr=-1") for rank in range(2)], "error: optimizer.lr=-1")
    told_once(
        [by_hand(tmp_path, rank, port, "optimizer.lrr=1") for rank in range(2)], "error: optimizer.lrr: there is no"
    )
    told_once(
        [by_hand(tmp_path, rank, port, f"seed={rank}") for rank in range(2)], "error: process 1 .* other arguments"
    )
    told_once(
        [by_hand(tmp_path, rank, port, "seed=1,2", "-m") for rank in range(2)], "error: --multirun: a sweep starts"
    )


@pytest.mark.slow
def test_an_error_of_one_process_under_torchrun_ends_all(tmp_path):
    (tmp_path / "mine.py").write_text(HOOKS)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    status, out, err = run(tmp_path, *torchrun, TRAIN, *SHORT, "+hooks.mine._target_=mine.Fail")
    assert status != 0
    told = [line for line in (out + err).splitlines() if "no luck" in line]
    assert len(told) == 1
    assert re.match(
        r"process 1 \(.*, pid \d+\) failed in hooks.mine, in after_train_iter: ValueError: no luck", told[0]
    )
    folder = only_run(tmp_path)
    assert read(folder, "status.json")["status"] == read(folder, "result.json")["status"] == "failed"
    assert read(folder, "result.json")["reason"] == told[0]
    assert read(folder, "result.json")["hook"] == "mine"
    assert "Traceback" in (folder / "logs" / "rank1.log").read_text()
    until(lambda: not left(tmp_path), 15)


@pytest.mark.slow
def test_a_signal_to_the_launcher_saves_and_ends_all(tmp_path):
    (tmp_path / "mine.py").write_text(HOOKS)
    slow = ["distributed.processes=2", *SHORT, "+hooks.mine._target_=mine.Slow", "hydra.run.dir=run", "resume=auto"]
    process = start(tmp_path, sys.executable, TRAIN, *slow)
    until((tmp_path / "begun").exists)
    process.send_signal(signal.SIGUSR1)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + signal.SIGUSR1, out + err
    assert out.count("interrupted (SIGUSR1) after iteration") == 1
    assert err == ""
    assert left(tmp_path) == []
    done = read(tmp_path / "run", "result.json")["iterations"]
    status, out, _ = run(tmp_path, sys.executable, TRAIN, *slow)
    assert status == 0
    assert f"going on after iteration {done} of 12" in out


@pytest.mark.slow
def test_a_launcher_that_is_killed_leaves_no_process(tmp_path):
    (tmp_path / "mine.py").write_text(HOOKS)
    slow = ["distributed.processes=2", *SHORT, "runner.max_epochs=90", "+hooks.mine._target_=mine.Slow"]
    process = start(tmp_path, sys.executable, TRAIN, *slow)
    until((tmp_path / "begun").exists)
    process.kill()
    process.communicate(timeout=LIMIT)
    until(lambda: not left(tmp_path), 15)
    assert read(only_run(tmp_path), "status.json")["status"] == "interrupted"
    assert list(only_run(tmp_path).glob("checkpoints/last.pt"))


@pytest.mark.slow
def test_jobs_of_a_sweep_start_their_processes(tmp_path):
    sweep = ["-m", "distributed.processes=2", "seed=0,1", "launcher.name=mine", "launcher.slots=2"]
    status, out, err = run(tmp_path, sys.executable, TRAIN, *sweep, *SHORT)
    assert status == 0, out + err
    jobs = sorted((tmp_path / "outputs" / "sweeps" / "mine").glob("seed=*"))
    assert [read(job, "state.json")["state"] for job in jobs] == ["done"] * 2
    assert all((job / "logs" / "rank1.log").is_file() for job in jobs)
    first, second = (read(job, "state.json") for job in jobs)
    # Each takes both slots, so one comes after the other.
    assert (
        second["started"] >= first["started"] + first["seconds"]
        or first["started"] >= second["started"] + second["seconds"]
    )
    assert left(tmp_path) == []


@pytest.mark.slow
@pytest.mark.skipif(not has_slurm(), reason="Slurm is not installed, or its daemons may not be started")
def test_tasks_of_srun_share_a_run(tmp_path):
    with slurm(tmp_path / "slurm"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        command = ["srun", "-n2", sys.executable, TRAIN, *SHORT]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("done: val/top1") == 1
    assert (only_run(tmp_path) / "logs" / "rank1.log").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["distributed=ddp"],
            "distributed=ddp: nothing says how many processes there are: give distributed.processes=2",
        ),
        (["distributed.processes=0"], "distributed.processes=0: must be null, gpu or an integer > 0 and <= 4096"),
        (["distributed.processes=1.5"], "distributed.processes=1.5: must be null, gpu or an integer > 0"),
        (["distributed.processes=true"], "distributed.processes=true: must be null, gpu or an integer > 0"),
        (["distributed.processes=many"], "distributed.processes=many: must be null, gpu or an integer > 0"),
        (["distributed.timeout=0"], "distributed.timeout=0: must be a number >= 2 and <= 604800"),
        (["distributed.timeout=0.5"], "distributed.timeout=0.5: must be a number >= 2"),
        (["distributed.timeout=1e30"], "distributed.timeout=1e+30: must be a number >= 2 and <= 604800"),
        (["distributed.silence=0"], "distributed.silence=0: must be a number >= 2"),
        (["distributed.backend=mpi"], "distributed.backend=mpi: must be one of auto, gloo, nccl"),
        (
            ["distributed.processes=3", "data.batch_size=2"],
            "data.batch_size=2: must be >= 3, one sample for each of the 3",
        ),
        (["distributed.processes=2", "runner.device=cuda:1"], "runner.device=cuda:1: must be auto, cuda or cpu with 2"),
    ],
)
def test_wrong_input(arguments, message, train):
    finished = train(*arguments)
    assert finished.status == 2
    assert finished.err.startswith(f"error: {message}"), finished.err
    assert len(finished.err.splitlines()) == 1
    told = read(only_run(finished.cwd), "status.json")
    assert (told["status"], told["reason"]) == ("failed", finished.err.strip().removeprefix("error: "))


def hello(rank: int, *arguments: str) -> Hello:
    return Hello(f"node{rank}", f"machine{rank}", 1, "1", (0,), arguments)


def test_arguments_are_the_same_in_any_order_and_else_what_differs_is_told():
    first = ("seed=1", "model=resnet18", "optimizer=adamw")
    same = SimpleNamespace(rank=0, hellos=[hello(0, *first), hello(1, *reversed(first))])
    assert shared_arguments(same, first) == list(first)
    other = SimpleNamespace(rank=0, hellos=[hello(0, *first), hello(1, "seed=2", *first[1:])])
    message = r"^process 1 \(node1\) was started with other arguments than process 0: seed=2 in place of seed=1$"
    with pytest.raises(ConfigError, match=message):
        shared_arguments(other, first)


def test_commands_of_one_process_say_so(run_task, monkeypatch):
    finished = run_task(show_data, "show_data", "distributed.processes=2")
    assert finished.status == 2
    assert re.fullmatch(r"error: distributed.processes=2: \S+ runs in one process; leave it out\n", finished.err)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "29500")
    finished = run_task(show_data, "show_data")
    assert finished.status == 2
    assert re.fullmatch(
        r"error: \S+: runs in one process, and the environment has started 2: start it without\n", finished.err
    )
    assert not (finished.cwd / "outputs").exists()
    monkeypatch.setenv("RANK", "1")  # the first one has told it
    assert run_task(show_data, "show_data").err == ""


@pytest.mark.parametrize(
    ("end", "status", "told"),
    [
        (
            End(1, "process 1 (node1, pid 42) was killed by SIGKILL"),
            "failed",
            "process 1 (node1, pid 42) was killed by",
        ),
        (End(143, signal="SIGTERM"), "interrupted", "interrupted (SIGTERM) before the first update was done"),
    ],
)
def test_what_ends_processes_before_they_have_met_is_told(end, status, told, train, monkeypatch):
    monkeypatch.setattr("hookline.commands.spawn.launch", lambda folder, count: end)
    finished = train("distributed.processes=2", "runner.device=cpu")
    assert finished.status == end.status
    assert told in finished.out
    for name in ("status.json", "result.json"):
        assert read(only_run(finished.cwd), name)["status"] == status
        assert read(only_run(finished.cwd), name)["reason"] == (end.reason or end.signal)


@pytest.mark.slow
def test_a_process_that_is_killed_as_it_starts_is_named(tmp_path):
    process = start(tmp_path, sys.executable, TRAIN, "distributed.processes=2", *SHORT)
    until(lambda: children(process.pid))
    pid = children(process.pid)[-1]
    os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 1, out + err
    (line,) = (out + err).splitlines()
    assert re.fullmatch(rf"process \d \(.*, pid {pid}\) was killed by SIGKILL", line)
    assert read(only_run(tmp_path), "status.json")["reason"] == line
    until(lambda: not left(tmp_path), 15)


@pytest.mark.slow
def test_a_launcher_that_is_killed_as_its_processes_start_leaves_nothing(tmp_path):
    place = tmp_path / "tmp"
    place.mkdir()
    process = start(tmp_path, sys.executable, TRAIN, "distributed.processes=2", *SHORT, TMPDIR=str(place))
    until(lambda: len(children(process.pid)) == 2)
    process.kill()
    process.communicate(timeout=LIMIT)
    until(lambda: not left(tmp_path), 30)
    assert list(place.glob("hookline_*")) == []


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "stage"), [(0, "after_train_iter"), (1, "after_run")])
def test_whichever_process_fails_is_named(rank, stage, tmp_path):
    (tmp_path / "mine.py").write_text(MISBEHAVING)
    fail = ["+hooks.mine._target_=mine.FailAt", f"+hooks.mine.rank={rank}", f"+hooks.mine.stage={stage}"]
    status, out, _ = run(tmp_path, sys.executable, TRAIN, "distributed.processes=2", *SHORT, *fail)
    assert status == 1
    (line,) = [line for line in out.splitlines() if "no luck" in line]
    assert re.fullmatch(rf"process {rank} \(.*\) failed in hooks.mine, in {stage}: ValueError: no luck", line)
    for name in ("status.json", "result.json"):
        found = read(only_run(tmp_path), name)
        assert (found["status"], found["reason"]) == ("failed", line)


def test_a_launcher_that_ends_the_others_does_not_keep_them_from_telling_why(tmp_path):
    (tmp_path / "mine.py").write_text(MISBEHAVING)
    die = ["+hooks.mine._target_=mine.Die", "+hooks.mine.rank=0", "+hooks.mine.stage=before_backward"]
    status, out, err = run(tmp_path, sys.executable, TRAIN, "distributed.processes=2", *SHORT, *die)
    assert status == 1
    (line,) = [line for line in (out + err).splitlines() if "has gone without a word" in line]
    assert re.match(r"process 0 \(.*\) has gone", line)
    for name in ("status.json", "result.json"):
        assert read(only_run(tmp_path), name)["reason"] == line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "stage", "iteration", "more", "silence"),
    [
        (0, "before_backward", 2, ["distributed.silence=4"], 4),
        (1, "after_val_iter", 7, [], 10),
        (1, "before_backward", 2, ["distributed=fsdp"], 10),
    ],
)
def test_a_process_that_hangs_in_a_hook_ends_all_long_before_the_timeout(
    rank, stage, iteration, more, silence, tmp_path
):
    (tmp_path / "mine.py").write_text(MISBEHAVING)
    hang = ["+hooks.mine._target_=mine.Hang", f"+hooks.mine.rank={rank}", f"+hooks.mine.stage={stage}"]
    status, out, err = run(tmp_path, sys.executable, TRAIN, "distributed.processes=2", *SHORT, *hang, *more)
    assert time.time() - (tmp_path / "hung").stat().st_mtime < 60
    assert status == 1
    line = f"hooks.mine, in {stage} of iteration {iteration}"
    line = rf"process {rank} \(.*\) has kept the others waiting for {silence} seconds; last seen in {line}"
    assert len([found for found in (out + err).splitlines() if re.fullmatch(line, found)]) == 1, out + err
    found = read(only_run(tmp_path), "status.json")
    assert found["status"] == "failed"
    assert re.fullmatch(line, found["reason"])


@pytest.mark.parametrize(
    ("found", "arguments", "message"),
    [
        (0, ["distributed.processes=gpu"], "distributed.processes=gpu: must be a number: this machine has no GPU"),
        (
            2,
            ["distributed.processes=4"],
            "distributed.processes=4: this machine has 2 GPUs, and each process needs its own",
        ),
    ],
)
def test_more_processes_than_gpus(found, arguments, message, train, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: found)
    finished = train(*arguments)
    assert finished.status == 2
    assert finished.err.startswith(f"error: {message}"), finished.err


def test_a_launchers_environment_that_cannot_be(train, monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    finished = train(*SHORT)
    assert (finished.status, len(finished.err.splitlines())) == (2, 1)
    assert finished.err.startswith("error: RANK=2: must be an integer >= 0 and < 2")


def test_a_job_needs_as_many_slots_as_it_has_processes(train):
    finished = train("-m", "seed=0,1", "distributed.processes=3", "launcher.slots=2", "runner.device=cpu")
    assert finished.status == 2
    assert "launcher.slots=2: must be >= 3, as a job of 3 processes takes as many" in finished.err
