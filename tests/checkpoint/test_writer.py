"""The writer's thread."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from hookline.checkpoint import Writer, read, write


@pytest.fixture
def slow(monkeypatch):
    """Make each write wait until the returned event is set."""
    gate = threading.Event()

    def wait_and_write(path, content):
        assert gate.wait(20)
        write(path, content)

    monkeypatch.setattr("hookline.checkpoint.writer.write", wait_and_write)
    return gate


def test_what_changes_after_the_call_is_not_in_the_file(tmp_path, slow):
    weight, rows = torch.zeros(1000, 10), [{"a": 1}]
    writer = Writer()
    writer.submit(tmp_path / "a.pt", {"weight": weight, "rows": rows, "deep": [{"w": weight[:2]}]})
    assert writer.busy
    weight += 1
    rows[0]["a"] = 2
    slow.set()
    writer.join()
    found = read(tmp_path / "a.pt")
    assert torch.equal(found["weight"], torch.zeros(1000, 10))
    assert torch.equal(found["deep"][0]["w"], torch.zeros(2, 10))
    assert found["rows"] == [{"a": 1}]


def test_one_write_at_a_time_and_each_is_done(tmp_path, slow):
    writer, done = Writer(), []
    writer.submit(tmp_path / "a.pt", {"n": torch.tensor(1)}, lambda: done.append("a"))
    threading.Timer(0.2, slow.set).start()
    writer.submit(tmp_path / "b.pt", {"n": torch.tensor(2)}, lambda: done.append("b"))
    assert done[:1] == ["a"]
    writer.join()
    assert done == ["a", "b"]
    assert [int(read(tmp_path / name)["n"]) for name in ("a.pt", "b.pt")] == [1, 2]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_shapes_types_and_memory_order_come_back(tmp_path, layout):
    tensors = {
        "image": torch.randn(2, 3, 4, 5).to(memory_format=layout),
        "half": torch.randn(3).bfloat16(),
        "count": torch.tensor(7),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "none": torch.empty(0, 3),
    }
    writer = Writer()
    for number in range(2):  # the second time into the buffers of the first
        tensors["count"].fill_(number)
        writer.submit(tmp_path / "a.pt", tensors)
        writer.join()
    found = read(tmp_path / "a.pt")
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor), name
        assert (found[name].dtype, found[name].stride()) == (tensor.dtype, tensor.stride()), name


def test_tensors_that_change_their_shape(tmp_path):
    writer = Writer()
    for size in (3, 5, 5, 1):
        writer.submit(tmp_path / "a.pt", {"w": torch.full((size,), float(size))})
        writer.join()
        assert torch.equal(read(tmp_path / "a.pt")["w"], torch.full((size,), float(size)))


@pytest.mark.parametrize("error", [OSError("no space left on device"), RuntimeError("unexpected pos 64 vs 0")])
def test_a_write_that_fails_for_a_moment_is_tried_again(tmp_path, monkeypatch, error):
    failures = [error, error]

    def fail(path, content):
        if failures:
            raise failures.pop()
        write(path, content)

    monkeypatch.setattr("hookline.checkpoint.writer.RETRIES", (0.01, 0.01))
    monkeypatch.setattr("hookline.checkpoint.writer.write", fail)
    writer = Writer()
    writer.submit(tmp_path / "a.pt", {"a": 1})
    writer.join()
    assert read(tmp_path / "a.pt") == {"a": 1}
    assert writer.take_error() is None


def test_a_write_that_fails_for_good_is_told_once(tmp_path, monkeypatch):
    def fail(path, content):
        raise RuntimeError("unexpected pos 64 vs 0")

    monkeypatch.setattr("hookline.checkpoint.writer.RETRIES", ())
    monkeypatch.setattr("hookline.checkpoint.writer.write", fail)
    writer = Writer()
    writer.submit(tmp_path / "a.pt", {"a": 1})
    writer.join()
    assert str(writer.take_error()) == "unexpected pos 64 vs 0"
    assert writer.take_error() is None


def test_the_caller_goes_on_while_it_writes(tmp_path, slow):
    writer = Writer()
    began = time.perf_counter()
    writer.submit(tmp_path / "a.pt", {"w": torch.zeros(10)})
    assert time.perf_counter() - began < 10
    assert writer.busy
    assert not (tmp_path / "a.pt").exists()
    slow.set()
    writer.join()
    assert not writer.busy


@pytest.mark.cuda
def test_tensors_of_a_gpu_are_those_of_the_call(tmp_path):
    weight = torch.zeros(1 << 24, device="cuda")
    writer = Writer()
    for number in range(1, 4):
        weight.fill_(number)
        writer.submit(tmp_path / "a.pt", {"w": weight, "cpu": torch.tensor(number)})
        weight.fill_(-1.0)
        writer.join()
        found = read(tmp_path / "a.pt")
        assert found["w"].unique().tolist() == [number]
        assert int(found["cpu"]) == number


def test_what_follows_a_write_is_tried_again_without_the_write(tmp_path, monkeypatch):
    monkeypatch.setattr("hookline.checkpoint.writer.RETRIES", (0.01, 0.01))
    done: list[str] = []

    def then() -> None:
        done.append("then")
        if done.count("then") < 3:
            raise OSError("the disk is full")

    writer = Writer(lambda path, content: done.append("write"))
    writer.submit(tmp_path / "a.pt", {}, then)
    writer.join()
    assert done == ["write", "then", "then", "then"]
    assert writer.take_error() is None
