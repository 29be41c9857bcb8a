"""Jobs that end well, badly or not at all; launches that are killed, or that there are several of."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.sweep.toy import launch

from hookline.sweep.jobs import read_state
from hookline.sweep.lock import take
from hookline.sweep.slots import Slot
from hookline.sweep.store import write_state

PATIENCE = 30


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a launch in a process of its own."""
    started = []

    def begin(*names: str, slots: int = 2) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.sweep.toy", str(tmp_path), str(slots), *names]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def until(condition, seconds: float = PATIENCE) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def tries(job: Path) -> list[int]:
    """Return the processes that have tried a job."""
    return [int(pid) for pid in (job / "tries").read_text().split()] if (job / "tries").is_file() else []


def processes(sweep: Path) -> list[str]:
    """Return the processes that have something to do with a sweep: its jobs' groups are told by their folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            output = os.readlink(folder / "fd" / "1")
        except OSError:
            continue
        if output.startswith(str(sweep)):
            found.append(folder.name)
    return found


def seconds_of(pid: str) -> float:
    """Return how much of a core's time a process has used, 0 if it has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def states(sweep: Path, *names: str) -> list[str]:
    return [read_state(sweep / name)["state"] for name in names]


def become(sweep: Path, expected: dict[str, str]) -> None:
    """Wait for the states of jobs whose processes have been killed: the kernel gives a lock back a moment later."""
    end = time.monotonic() + PATIENCE
    while (found := dict(zip(expected, states(sweep, *expected), strict=True))) != expected:
        assert time.monotonic() < end, found
        time.sleep(0.01)


def test_a_job_that_fails_stops_no_other(tmp_path):
    names = ["abort", "killed", "leave", "hang", "good-1", "good-2"]
    launched, notes = launch(tmp_path, names, [Slot(), Slot()], job_timeout=1.0)
    told = {name: (state, reason) for name, state, reason in notes.states}
    assert told["good-1"] == told["good-2"] == ("done", None)
    assert told["abort"] == ("failed", "its process was killed by SIGABRT")
    assert told["killed"][1].startswith("its process was killed by SIGKILL, as the system does when memory runs out")
    assert told["leave"] == ("failed", "its process ended with exit status 3")
    assert told["hang"] == ("failed", "ran longer than launcher.job_timeout=1 seconds")
    assert launched.failed == 4
    assert states(tmp_path, *names) == ["failed"] * 4 + ["done"] * 2
    assert processes(tmp_path) == []


def test_a_status_of_a_job_that_means_busy_is_not_believed_for_ever(tmp_path):
    _, notes = launch(tmp_path, ["busy"], [Slot()])
    assert notes.states == [("busy", "failed", "its process ended with exit status 75")]
    assert 1 <= len(tries(tmp_path / "busy")) <= 5


def test_a_state_that_cannot_be_written_stops_no_other_job(tmp_path):
    launched, notes = launch(tmp_path, ["mute", "good"], [Slot()])
    (mute, good) = notes.states
    assert mute[:2] == ("mute", "failed")
    assert mute[2].startswith("its state cannot be kept: ")
    assert good == ("good", "done", None)
    assert launched.failed == 1


def test_a_job_that_dies_before_it_says_a_word_has_not_the_state_of_the_time_before(tmp_path):
    (tmp_path / "early").mkdir()
    write_state(tmp_path / "early", "interrupted", reason="SIGTERM")
    _, notes = launch(tmp_path, ["early"], [Slot()])
    assert notes.states == [("early", "failed", "its process ended with exit status 4")]


def test_a_fork_server_says_nothing_when_its_launcher_goes_without_listening():
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "hookline.sweep.server", str(theirs.fileno()), "tests.sweep.toy:run"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    server = subprocess.Popen(
        command, cwd=ROOT, env=environment, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True
    )
    theirs.close()
    assert select.select([mine], [], [], PATIENCE)[0]  # it has said that it is ready
    mine.close()
    assert server.communicate(timeout=PATIENCE) == (None, "")
    assert server.returncode == 0


def test_a_job_that_is_killed_after_a_checkpoint_goes_on(tmp_path):
    _, notes = launch(tmp_path, ["progress"], [Slot()])
    assert notes.states == [("progress", "done", None)]
    assert len(tries(tmp_path / "progress")) == 2


def test_after_so_many_failures_no_further_job_begins(tmp_path):
    launched, _ = launch(tmp_path, ["leave-1", "leave-2", "leave-3", "good"], [Slot()], max_failures=2)
    assert launched.failed == 2
    assert states(tmp_path, "leave-3", "good") == ["waiting", "waiting"]


def test_a_slots_job_sees_its_device_alone(tmp_path):
    launch(tmp_path, ["good-1", "good-2"], [Slot("GPU-toy-a"), Slot("MIG-toy-b")])
    seen = [
        json.loads((tmp_path / n / "environment").read_text())["CUDA_VISIBLE_DEVICES"] for n in ("good-1", "good-2")
    ]
    assert seen == ["GPU-toy-a", "MIG-toy-b"]


def test_a_device_is_kept_by_its_job_from_other_sweeps(tmp_path):
    first = Slot("GPU-0").claim(tmp_path)
    assert Slot("GPU-0").claim(tmp_path) is None
    assert Slot("GPU-0", turn=1).claim(tmp_path) is not None
    os.close(first)
    assert Slot("GPU-0").claim(tmp_path) is not None


def test_a_killed_launcher_leaves_no_process(start, tmp_path):
    launcher = start("wait-1", "hang-1", "wait-2")
    until(lambda: states(tmp_path, "wait-1", "hang-1") == ["running"] * 2 and processes(tmp_path))
    (server,) = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    before = seconds_of(server)
    launcher.kill()
    used = before
    end = time.monotonic() + 10
    while processes(tmp_path):
        assert time.monotonic() < end, "jobs are left"
        used = seconds_of(server) or used
        time.sleep(0.01)
    assert used - before < 1  # it waits for the one that does not end, and does not spin
    become(tmp_path, {"wait-1": "interrupted", "hang-1": "interrupted", "wait-2": "waiting"})


def test_a_launcher_that_is_killed_while_modules_are_imported_leaves_no_process(tmp_path):
    (tmp_path / "slow.py").write_text("import time\nopen('begun', 'w').close()\ntime.sleep(1000)\n")
    code = (
        "import time; from hookline.sweep.pool import Pool; p = Pool('tests.sweep.toy:run', ['slow']); time.sleep(99)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}:{tmp_path}"}
    launcher = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    until((tmp_path / "begun").exists)
    (server,) = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    launcher.kill()
    launcher.communicate()
    until(lambda: not Path(f"/proc/{server}/fd/0").exists(), seconds=10)


def test_all_that_is_killed_at_once_leaves_no_process(start, tmp_path):
    launcher = start("wait-1", "hang-1")
    until(lambda: states(tmp_path, "wait-1", "hang-1") == ["running"] * 2)
    server = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    for pid in (launcher.pid, *map(int, server)):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not processes(tmp_path), seconds=10)
    become(tmp_path, {"wait-1": "interrupted", "hang-1": "interrupted"})


def test_a_killed_fork_server_is_replaced(start, tmp_path):
    launcher = start("wait-1", "wait-2")
    until(lambda: states(tmp_path, "wait-1", "wait-2") == ["running"] * 2)
    (server,) = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    os.kill(int(server), signal.SIGKILL)
    until(lambda: [len(tries(tmp_path / f"wait-{i}")) for i in (1, 2)] == [2, 2])
    (tmp_path / "go").touch()
    assert launcher.wait(PATIENCE) == 0
    assert states(tmp_path, "wait-1", "wait-2") == ["done", "done"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_the_jobs_in_order(number, start, tmp_path):
    launcher = start("wait-1", "wait-2", "wait-3")
    until(lambda: states(tmp_path, "wait-1", "wait-2") == ["running"] * 2)
    launcher.send_signal(number)
    assert launcher.wait(PATIENCE) == number
    assert states(tmp_path, "wait-1", "wait-2", "wait-3") == ["interrupted", "interrupted", "waiting"]
    assert read_state(tmp_path / "wait-1")["reason"] == "SIGTERM"
    assert processes(tmp_path) == []


@pytest.mark.parametrize("launches", [2, 3])
def test_launches_share_the_work(launches, start, tmp_path):
    names = ["wait-1", "wait-2", *(f"good-{i}" for i in range(10))]
    running = [start(*names) for _ in range(launches)]
    until(lambda: states(tmp_path, "wait-1", "wait-2") == ["running"] * 2)
    (tmp_path / "go").touch()
    assert [launcher.wait(PATIENCE) for launcher in running] == [0] * launches
    assert states(tmp_path, *names) == ["done"] * len(names)
    assert [len(tries(tmp_path / name)) for name in names] == [1] * len(names)


def test_a_launch_takes_over_what_a_killed_one_has_left(start, tmp_path):
    first = start("wait-1", slots=1)
    until(lambda: states(tmp_path, "wait-1") == ["running"])
    second = start("wait-1", slots=1)
    first.kill()
    until(lambda: len(tries(tmp_path / "wait-1")) == 2)
    (tmp_path / "go").touch()
    assert second.wait(PATIENCE) == 0
    assert states(tmp_path, "wait-1") == ["done"]


def test_a_lock_is_held_by_one(tmp_path):
    held = take(tmp_path / "lock")
    assert take(tmp_path / "lock") is None
    os.close(held)
    assert take(tmp_path / "lock") is not None
