"""Processes of one run notice the end of another, whatever it is, and one of them tells it."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.commands.launched import launched, wait_for_ever
from tests.commands.one_node import free_port

from hookline.commands.launchers import Started, first_host, started_by
from hookline.commands.peers import SILENCE
from hookline.config.errors import ConfigError

TORCHRUN = {
    **{"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"},
    **{"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "2"},
}
SLURM = {
    **{"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1"},
    **{"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "gpu[07-08]", "SLURM_STEP_NUM_NODES": "2"},
}


def test_torchruns_environment():
    assert started_by(TORCHRUN) == Started("torchrun", 1, 4, "node1", 29500, agent=True, attempt=2)


def test_slurms_environment():
    found = started_by(SLURM)
    assert (found.launcher, found.rank, found.count, found.address) == ("srun", 3, 4, "gpu07")
    assert not found.agent
    assert started_by({**SLURM, "SLURM_PROCID": "0"}).port == found.port
    assert started_by({**SLURM, "SLURM_JOB_ID": "78"}).port != found.port
    assert started_by({**SLURM, "SLURM_STEP_ID": "1"}).port != found.port
    assert started_by({**SLURM, "MASTER_PORT": "4444"}).port == 4444


def test_torchrun_within_a_step_of_slurm_counts():
    assert started_by({**SLURM, **TORCHRUN}).launcher == "torchrun"


def test_a_batch_script_is_one_process():
    environment = {key: value for key, value in SLURM.items() if "STEP" not in key}
    assert started_by({**environment, "SLURM_PROCID": "0"}) is None
    assert started_by({}) is None


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n1", "n1"), ("n1,n2", "n1"), ("gpu[07-09,12],cpu1", "gpu07"), ("a[3]", "a3"), ("r1n[01-02]-ib,x", "r1n01-ib")],
)
def test_the_first_host_of_slurms_list(nodes, first):
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({**TORCHRUN, "RANK": "4"}, "RANK=4: must be an integer >= 0 and < 4"),
        ({**TORCHRUN, "WORLD_SIZE": "many"}, "WORLD_SIZE=many: must be an integer >= 1"),
        ({**TORCHRUN, "MASTER_PORT": "99999"}, "MASTER_PORT=99999: must be"),
        ({**TORCHRUN, "RANK": "²"}, "RANK=²: must be an integer >= 0 and < 4"),
        ({**TORCHRUN, "MASTER_PORT": "0"}, "MASTER_PORT=0: must be an integer >= 1"),
        ({"RANK": "1"}, "RANK=1: WORLD_SIZE must be set, too"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2: RANK must be set, too"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "WORLD_SIZE=2: MASTER_ADDR and MASTER_PORT must be set"),
        ({**SLURM, "SLURM_PROCID": "-1"}, "SLURM_PROCID=-1: must be"),
    ],
)
def test_an_environment_that_cannot_be(environment, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        started_by(environment)


def lose(mine, how: str, rank: int, place: str) -> None:
    """Let one process end in this way, while the others wait for it."""
    # Their own streams, with what is told on them.
    mine._screen = os.open(f"{place}/told{mine.rank}", os.O_WRONLY | os.O_CREAT)
    mine.silence = 2.0
    if mine.rank != rank:
        if how == "stuck":  # outside Python's reach, where no signal's handler runs
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            time.sleep(1000)
        wait_for_ever(mine)
    time.sleep(0.3)
    if how == "error":
        mine.fail("data.root=here: there is no such folder", 2)
        return
    if how != "stuck":
        os.kill(os.getpid(), getattr(signal, how))
        time.sleep(1000)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("how", "rank", "count", "statuses", "told"),
    [
        ("SIGKILL", 1, 3, [1, -9, 1], "has gone without a word"),
        ("SIGKILL", 0, 3, [-9, 1, 1], "has gone without a word"),
        ("SIGSTOP", 1, 2, [1, -9], "has given no sign of life for 2 seconds"),
        ("SIGSTOP", 0, 2, [-9, 1], "has given no sign of life for 2 seconds"),
        ("error", 1, 2, [2, 0], "data.root=here: there is no such folder"),
        ("stuck", 1, 2, [1, -9], "has gone without a word"),
    ],
)
def test_all_end_with_one_and_one_of_them_tells_it(how, rank, count, statuses, told, tmp_path):
    began = time.monotonic()
    assert launched(count, lose, how, rank, str(tmp_path)) == statuses
    assert time.monotonic() - began < 30
    lines = [line for path in Path(tmp_path).glob("told*") for line in path.read_text().splitlines()]
    assert len(lines) == 1
    assert f"process {rank} (" in lines[0]
    assert told in lines[0]


def test_a_first_process_that_is_stopped_with_its_store_is_missed(tmp_path):
    assert launched(2, lose, "SIGSTOP", 0, str(tmp_path), agent=False) == [-9, 1]
    (line,) = (tmp_path / "told1").read_text().splitlines()
    assert re.match(r"process 0 \(.*\) has given no sign of life for 2 seconds$", line)


def fall_behind(mine, rank: int, others_wait: bool, place: str) -> None:
    """Let one process come no further for five seconds, while the others have gone on to a collective call."""
    mine._screen = os.open(f"{place}/told{mine.rank}", os.O_WRONLY | os.O_CREAT)
    mine.silence = 2.0
    mine.place, mine.others_wait = lambda: "hooks.mine, in after_iter of iteration 7", lambda: others_wait
    mine.calls = lambda: 3 if mine.rank == rank else 4
    if mine.rank == rank:
        time.sleep(5)
        mine.publish("came", True)
    mine.ask("came")


@pytest.mark.parametrize(("rank", "statuses"), [(0, [-9, 1]), (1, [1, -9])])
def test_a_process_that_hangs_in_python_ends_all(rank, statuses, tmp_path):
    assert launched(2, fall_behind, rank, False, str(tmp_path)) == statuses
    (line,) = (line for path in tmp_path.glob("told*") for line in path.read_text().splitlines())
    told = "has kept the others waiting for 2 seconds; last seen in hooks.mine, in after_iter of iteration 7"
    assert re.fullmatch(rf"process {rank} \(.*\) {told}", line)


@pytest.mark.slow
def test_a_process_that_may_take_long_is_waited_for(tmp_path):
    assert launched(2, fall_behind, 0, True, str(tmp_path)) == [0, 0]


def end_one(mine, rank: int, place: str) -> None:
    mine._screen = os.open(f"{place}/told{mine.rank}", os.O_WRONLY | os.O_CREAT)
    if mine.rank == rank:
        mine.fail("ValueError: no luck", stage="after_run")
        raise SystemExit
    mine.end_together()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_fails_at_the_very_end_is_missed(rank, tmp_path):
    assert launched(2, end_one, rank, str(tmp_path))[1 - rank] == 1
    told = [path.read_text() for path in tmp_path.glob("told*")]
    if rank:  # the first process tells it; of itself it does so with a trace
        assert re.fullmatch(r"process 1 \(.*\) failed in after_run: ValueError: no luck\n", "".join(told))


def orphan(place: str, port: int) -> None:
    """Wait for a process that never comes, while the parent ends."""
    from hookline.commands.peers import Peers

    if pid := os.fork():
        Path(place, "child").write_text(str(pid))
        time.sleep(1)
        os._exit(0)
    os.setsid()
    started = Started("a test", 1, 2, "localhost", port, agent=False)
    Peers(started, orphaned=lambda: Path(place, "orphaned").touch())


def test_a_process_whose_launcher_goes_before_they_meet_does_not_wait(tmp_path):
    process = multiprocessing.get_context("forkserver").Process(target=orphan, args=(str(tmp_path), free_port()))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    until = time.monotonic() + 15
    child = Path("/proc", (tmp_path / "child").read_text())
    while child.exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not child.exists()
    assert (tmp_path / "orphaned").exists()


def wait_for_the_first(port: int) -> None:
    """Wait for a first process that never comes."""
    from hookline.commands.peers import Peers

    Peers(Started("a test", 1, 2, "localhost", port))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_process_that_waits_for_the_first_one_can_be_ended(name):
    process = multiprocessing.get_context("forkserver").Process(target=wait_for_the_first, args=(free_port(),))
    process.start()
    time.sleep(2)
    os.kill(process.pid, getattr(signal, name))
    process.join(15)
    assert process.exitcode in (-signal.SIGTERM, 1)


def test_a_host_that_is_not_known_is_refused_at_once():
    from hookline.commands.peers import Peers

    with pytest.raises(ConfigError, match=r"^MASTER_ADDR=no\.such\.host\.invalid: .* this host is not known"):
        Peers(Started("a test", 0, 2, "no.such.host.invalid", 29500))


def test_the_first_process_says_that_it_waits(tmp_path, monkeypatch, capfd):
    from hookline.commands import peers

    monkeypatch.setattr(peers, "WAITING", 0.3)
    monkeypatch.setattr(peers, "JOIN", 1.0)
    port = free_port()
    with pytest.raises(ConfigError, match="of 2 processes these have not come within 1 seconds: 1"):
        peers.Peers(Started("a test", 0, 2, "localhost", port))
    assert capfd.readouterr().err == f"waiting for 1 of 2 processes at localhost:{port}\n"


def blame(mine, place: str) -> None:
    errors = [
        ("Timed out waiting for my own server", False),
        ("my own Socket collective gloo error", False),
        ("[/x/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 1000ms for recv operation", False),
        ("[/x/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 5000ms for recv operation", True),
    ]
    if mine.rank:
        wait_for_ever(mine)
    mine.timeout = 5.0
    mine.place = lambda: "update of iteration 1"
    found = [(text, mine.cause_of(RuntimeError(text)) is not None) for text, _ in errors]
    Path(place, "same").write_text(str(found == errors))


def test_only_a_collective_call_that_has_waited_long_enough_blames_another(tmp_path):
    assert launched(2, blame, str(tmp_path)) == [0, -9]
    assert (tmp_path / "same").read_text() == "True"


def wrap(mine, place: str) -> None:
    if mine.rank:
        mine.ask("ready")
        mine.fail("ValueError: no luck")
        return
    importlib.import_module("hookline.engine.processes")  # which takes seconds, and which a run has done long before
    mine.publish("ready", True)
    try:
        try:
            raise RuntimeError("[/x/gloo/transport/tcp/pair.cc:561] Connection closed by peer")
        except RuntimeError as error:
            raise ConfigError("update: it fails") from error
    except ConfigError as error:
        Path(place, "told").write_text(mine.told(mine.cause_of(error)))


def test_an_error_that_was_raised_from_that_of_a_collective_call_is_another_processs(tmp_path):
    launched(2, wrap, str(tmp_path))
    assert re.fullmatch(r"process 1 \(.*\) failed in start: ValueError: no luck", (tmp_path / "told").read_text())


def end_alone(mine, rank: int, place: str) -> None:
    mine._screen = os.open(f"{place}/told{mine.rank}", os.O_WRONLY | os.O_CREAT)
    mine.timeout = 2.0
    if mine.rank == rank:
        time.sleep(1000)
    mine.end_together()


@pytest.mark.parametrize(("rank", "statuses"), [(0, [-9, 1]), (1, [1, -9])])
def test_a_process_that_does_not_come_to_the_end_ends_all(rank, statuses, tmp_path):
    assert launched(2, end_alone, rank, str(tmp_path)) == statuses
    (line,) = (line for path in tmp_path.glob("told*") for line in path.read_text().splitlines())
    assert re.match(rf"process {rank} \(.*\) has kept the others waiting for longer than distributed.timeout", line)


def fail_and_write(mine, place: str) -> None:
    if mine.rank:
        mine.fail("ValueError: no luck")
        time.sleep(3)
        Path(place, "written").touch()
    else:
        try:
            wait_for_ever(mine)
        finally:
            Path(place, "known").touch()


def test_processes_stay_while_the_one_that_failed_writes_its_last_files(tmp_path):
    began = time.monotonic()
    assert launched(2, fail_and_write, str(tmp_path)) == [1, 0]
    assert time.monotonic() - began > 3
    assert (tmp_path / "known").stat().st_mtime < (tmp_path / "written").stat().st_mtime


@pytest.mark.slow
def test_a_first_process_that_comes_late_is_not_taken_for_a_hung_one():
    assert launched(2, end_in_turn, agent=False, late=SILENCE + 2) == [0, 0]


def end_in_turn(mine) -> None:
    time.sleep(2 * mine.rank)


def test_a_process_that_ends_in_order_is_not_missed():
    assert launched(3, end_in_turn) == [0, 0, 0]


def stopped_all(mine, place: str) -> None:
    mine.silence = 2.0
    Path(place, str(mine.rank)).write_text(str(os.getpid()))
    mine.publish(f"there/{mine.rank}", True)
    mine.ask(f"there/{1 - mine.rank}")
    until = time.monotonic() + 8
    while time.monotonic() < until and mine.loss is None:
        time.sleep(0.1)
    if mine.loss is not None:
        os._exit(3)


@pytest.mark.slow
def test_processes_that_were_all_stopped_and_go_on_do_not_miss_each_other(tmp_path):
    import threading

    def stop() -> None:
        until = time.monotonic() + 30
        while len(list(tmp_path.glob("?"))) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(0.5)
        pids = [int(path.read_text()) for path in tmp_path.glob("?")]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(3)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=stop)
    thread.start()
    assert launched(2, stopped_all, str(tmp_path)) == [0, 0]
    thread.join()


LATE = """
import sys
from torch.distributed import PrefixStore, TCPStore
from hookline.commands.launchers import Started
from hookline.commands.peers import Peers
from hookline.config.errors import ConfigError

store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
others = PrefixStore("hookline/0", store)
others.set("hello/1", "of another run")
try:
    Peers(Started("a test", 1, 2, "localhost", store.port))
except ConfigError as error:
    kept = others.get("hello/1") == b"of another run" and not others.check(["beat/1"])
    sys.exit(7 if kept and "another run's processes meet there" in str(error) else 1)
"""


def test_a_process_that_comes_to_the_port_of_another_run_leaves_that_alone():
    assert subprocess.run([sys.executable, "-c", LATE], timeout=60).returncode == 7
