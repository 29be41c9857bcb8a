"""Checkpoints whose parts several processes write: on as many processes they go on exactly, and on others, too."""

from __future__ import annotations

import shutil

import pytest
import torch
from tests.engine import ddp_runs
from tests.engine.together import together

from hookline.checkpoint import CheckpointError, CheckpointFolder, read
from hookline.engine.processes import Processes

# In mid-epoch, and after an epoch's end; frozen parts are trained from the second epoch on.
MOMENTS = (3, 5, 8)
RUN = {"iters": 11, "blocks": 1, "freeze": {"patterns": ["conv"], "epochs": 1}, "update": {"micro_batches": 2}}
SHARDED = {**RUN, "shard": {}}

# The tests share what the processes gave, so one process of the suite runs them all.
pytestmark = pytest.mark.xdist_group("fsdp_resume")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def whole(folder):
    return together(2, ddp_runs.with_directories, str(folder), SHARDED)[0]


@pytest.fixture
def paths(folder, whole):
    return [folder / "checkpoints" / f"iter_{moment:08d}.dcp" for moment in MOMENTS]


def test_on_as_many_processes_it_is_bit_identical(whole, paths):
    for answers in together(2, ddp_runs.resumed_from, paths, SHARDED):
        for answer in answers:
            for part in ("weights", "averages", "history"):
                torch.testing.assert_close(answer[part], whole[part], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("count", "options"),
    [
        pytest.param(1, RUN, id="one"),
        pytest.param(2, RUN, id="ddp", marks=pytest.mark.slow),
        pytest.param(3, SHARDED, id="three", marks=pytest.mark.slow),
    ],
)
def test_on_another_number_it_goes_on_with_the_same_samples(whole, paths, count, options):
    if count == 1:
        answers = ddp_runs.resumed_from(Processes(), paths, options)
    else:
        answers = together(count, ddp_runs.resumed_from, paths, options)[0]
    for answer in answers:
        torch.testing.assert_close(answer["weights"], whole["weights"], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(answer["averages"], whole["averages"], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(answer["history"], whole["history"], rtol=1e-9, atol=1e-9)


def test_the_newest_and_the_best_are_files_with_all_that_is_in_their_directories(folder, whole):
    checkpoints = folder / "checkpoints"
    for name, iterations in (("last.pt", whole["iterations"]), ("best.pt", whole["best"])):
        content = torch.load(checkpoints / name, weights_only=True)
        expected = read(checkpoints / f"iter_{iterations:08d}.dcp")
        assert content.keys() == expected.keys()
        torch.testing.assert_close(content["parts"]["model"], expected["parts"]["model"], rtol=0, atol=0)
        assert content["parts"]["clock"]["iter"] == iterations
    torch.testing.assert_close(dict(read(checkpoints / "last.pt")["parts"]["model"]), whole["weights"], rtol=0, atol=0)


def test_no_process_writes_the_parts_of_others(paths):
    files = {file.name: file.stat().st_size for file in paths[0].glob("shards*/*.distcp")}
    assert len(files) == 2
    assert max(files.values()) < 1.5 * min(files.values())


@pytest.mark.parametrize("name", ["state.pt", "__1_0.distcp", ".metadata"])
@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_damaged_one_is_passed_over(folder, paths, tmp_path, name, damage):
    for path in paths[:2]:
        shutil.copytree(path, tmp_path / path.name)
    (file,) = (tmp_path / paths[1].name).rglob(name)
    if damage == "gone":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(bytes(content))
    with pytest.raises(CheckpointError):
        read(tmp_path / paths[1].name)
    found = CheckpointFolder(tmp_path).newest()
    assert found is not None
    assert found[0].name == paths[0].name


def test_what_a_kill_left_is_no_checkpoint(paths, tmp_path):
    for path in paths[:2]:
        shutil.copytree(path, tmp_path / path.name)
    (tmp_path / paths[1].name / "state.pt").unlink()  # which is written last
    folder = CheckpointFolder(tmp_path)
    assert [path.name for path in folder.all()] == [paths[0].name]
    folder.sweep()
    assert [path.name for path in tmp_path.iterdir()] == [paths[0].name]
