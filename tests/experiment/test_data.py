"""From the `data` keys of a config to batches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from tests.data.test_sample_loader import Pictures, draw
from tests.images import write_folder
from tests.toy import timeless
from torch import Tensor

from hookline.data import InMemoryLoader, SampleLoader
from hookline.data.sample_loader import resolve_workers
from hookline.engine import Hook
from hookline.experiment import build_source, build_train_loader, build_val_loader, input_shape

CPU = torch.device("cpu")


class Folder(Pictures):
    """The pictures of a folder, for configs to name."""

    def __init__(self, *, split: str, folder: str) -> None:
        super().__init__(Path(folder), split)


@pytest.fixture
def of_folder(tmp_path) -> list[str]:
    """The overrides that train on a folder of 40 pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(40):
        draw(folder, number, (8, 8))
    target = ["data._target_=tests.experiment.test_data.Folder", f"+data.folder={folder}"]
    return [*target, "data.batch_size=10", "data.val_batch_size=40", "data.transforms.resize.size=16"]


def train_loader(cfg):
    return build_train_loader(cfg, build_source(cfg, "train"), CPU)


def content(loader) -> list[Tensor]:
    return [part for batch in loader.batches(1) for part in (batch.images, batch.targets, batch.indices)]


@pytest.mark.parametrize("workers", ["auto", 0, 2])
def test_a_data_set_in_memory_gives_the_same_batches_when_it_is_read_sample_by_sample(config, workers):
    memory, disk = train_loader(config()), train_loader(config("data.in_memory=false", f"data.workers={workers}"))
    assert isinstance(memory, InMemoryLoader)
    assert isinstance(disk, SampleLoader)
    pairs = list(zip(content(memory), content(disk), strict=True))
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_source_that_reads_from_disk_can_be_held_in_memory(config, of_folder):
    disk, memory = train_loader(config(*of_folder)), train_loader(config(*of_folder, "data.in_memory=true"))
    assert isinstance(disk, SampleLoader)
    assert isinstance(memory, InMemoryLoader)
    pairs = list(zip(content(memory), content(disk), strict=True))
    assert all(torch.equal(one, other) for one, other in pairs)


CROP = {"_target_": "hookline.data.transforms.sample.CenterCrop", "size": 6}


def test_per_sample_transforms_need_the_loader_that_reads_samples(config):
    cfg = config()
    cut = {"cut": {"_target_": "tests.data.test_sample_loader.Cut"}}
    OmegaConf.set_struct(cfg, False)
    cfg = OmegaConf.merge(cfg, {"augment": {"train": {**cut, "other": None}, "val": {"crop": CROP}}})
    loader = train_loader(cfg)
    assert isinstance(loader, SampleLoader)
    assert list(loader.reader.transforms) == ["cut"]
    assert isinstance(build_val_loader(cfg, build_source(cfg, "val"), build_source(cfg, "train"), CPU), SampleLoader)
    assert input_shape(cfg, build_source(cfg, "train")) == (1, 32, 32)


def test_sampling_is_of_the_training_images_alone(config):
    cfg = config("data.subset=0.1", "data.sampler=class_balanced", "data.repeats=2", "data.samples_per_epoch=200")
    training, validation = build_source(cfg, "train"), build_source(cfg, "val")
    loader = train_loader(cfg)
    batches = list(loader.batches(0))
    assert sum(map(len, batches)) == 200
    indices, targets = torch.cat([b.indices for b in batches]), torch.cat([b.targets for b in batches])
    assert torch.equal(indices[::2], indices[1::2])
    assert len(indices.unique()) <= 150
    assert torch.bincount(targets).tolist() == [20] * 10
    assert sum(map(len, build_val_loader(cfg, validation, training, CPU).batches(0))) == 360


def test_workers_follow_the_cores():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [resolve_workers("auto", cores=cores, device=cpu) for cores in (1, 2, 8, 64)] == [1, 1, 4, 16]
    assert [resolve_workers("auto", cores=cores, device=gpu) for cores in (1, 2, 8, 64)] == [1, 1, 7, 16]
    assert resolve_workers(0, cores=8, device=cpu) == 0


def test_a_run_with_a_subset_and_repeats_has_that_many_iterations(runner):
    run = runner("data.subset=0.1", "data.repeats=2", "data.batch_size=10", "data.in_memory=false", "evaluation=none")
    assert len(run.train_loader) == 15  # of 144 samples
    run.run()
    assert run.clock.iter == 20


def test_a_run_from_disk_is_told_and_ends_with_one_message_at_a_broken_file(train, of_folder):
    folder = Path(of_folder[1].partition("=")[2])
    rows = train(*of_folder, "runner.max_epochs=1", "runner.device=cpu")
    assert rows.status == 0, rows.err
    assert re.search(r"waiting for data \d+ %", rows.out)
    (folder / "017.png").write_bytes(b"broken")
    done = train(*of_folder, "runner.max_epochs=1", "runner.device=cpu")
    assert done.status == 2
    assert done.err.count("017.png") <= 2, "its name, and in the library's words again"
    assert "(sample 17 of the " in done.err
    assert "Traceback" not in done.err
    done = train(*of_folder, "runner.max_epochs=1", "runner.device=cpu", "data.on_error=skip", "data.workers=2")
    assert done.status == 0, done.err
    assert "epoch 1: 1 of 40 samples had to be replaced (data.on_error=skip); broken: " in done.out + done.err


@pytest.mark.parametrize("kind", ["thread", pytest.param("process", marks=pytest.mark.slow)])
def test_a_run_goes_on_in_mid_epoch_with_other_workers(runner, of_folder, kind):
    options = [*of_folder, "data.repeats=3", "data.samples_per_epoch=70", "data.subset=0.5", "runner.max_iters=9"]
    options += ["evaluation=none"]
    whole = runner(*options)
    whole.run()
    first = runner(*options, "data.workers=0")
    states = []

    class Stop(Hook):
        watches = True

        def between_updates(self, run):
            if run.clock.iter == 4 and not states:
                states.append(run.state_dict())
                run.stop("enough")

    first.register_hooks([Stop()])
    first.run()
    second = runner(*options, "data.workers=1", f"data.worker_type={kind}")
    second.run(states[0])
    assert [timeless(row) for row in second.history] == [timeless(row) for row in whole.history]
    own, other = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(own[name], other[name]) for name in own)


def test_images_of_files_can_be_held_in_memory(config, tmp_path):
    root = write_folder(tmp_path / "train", count=4).parent
    write_folder(root / "val", count=2)
    batches = []
    for held in ("null", "true"):
        options = [f"data.root={root}", "data.batch_size=8", "augment.size=16", f"data.in_memory={held}"]
        loader = train_loader(config("data=image_folder", *options))
        if held == "true":  # nothing is read again
            for path in root.rglob("*.jpg"):
                path.unlink()
        batches.append(next(loader.batches(0)))
    assert torch.equal(batches[0].images, batches[1].images)
    assert torch.equal(batches[0].indices, batches[1].indices)
