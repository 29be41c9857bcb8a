"""How many threads a run takes: as many as the cores and the model's work allow."""

from __future__ import annotations

import os
import re

import pytest
import timm
import torch
import yaml
from torch import nn

from hookline.checkpoint import read
from hookline.config.cores import allowed_cores, available_cores, cpu_quota
from hookline.config.errors import ParameterError
from hookline.engine.threads import resolve_threads
from hookline.models.work import flops_per_layer

MODELS = [
    ("test_resnet", (64, 1, 32, 32), 8, 1),
    ("mobilenetv3_small_100", (64, 1, 32, 32), 8, 1),
    ("test_resnet", (128, 1, 42, 42), 2, 2),
    ("resnet18", (64, 3, 224, 224), 8, 8),
    ("vit_tiny_patch16_224", (64, 3, 224, 224), 8, 8),
]


@pytest.mark.parametrize(("name", "shape", "cores", "expected"), MODELS)
def test_small_layers_get_one_thread_and_large_ones_every_core(name, shape, cores, expected):
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=10, in_chans=shape[1])
    assert resolve_threads("auto", cores=cores, work=flops_per_layer(model, shape)) == expected


def test_work_is_the_flops_of_a_batch_over_the_layers_and_leaves_the_model_alone():
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 64, 10))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    convolution, linear = 2 * 16 * 64 * 9 * 4, 2 * 16 * 4 * 64 * 10
    assert flops_per_layer(model, (16, 1, 8, 8)) == (convolution + linear) / 2
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_model_that_looks_at_its_numbers_gets_every_core():
    class Looks(nn.Linear):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else x

    work = flops_per_layer(Looks(3, 2), (4, 3))
    assert work is None
    assert resolve_threads("auto", cores=6, work=work) == 6


def test_a_number_is_taken_as_it_is():
    assert resolve_threads(3, cores=2, work=0.0) == 3


@pytest.mark.parametrize("wanted", [0, -1, 1.5, "many", True, None])
def test_wrong_numbers(wanted):
    with pytest.raises(ParameterError, match="threads="):
        resolve_threads(wanted, cores=2)


V1 = "4:memory:/\n3:cpu,cpuacct:/docker/abc\n0::/\n"
QUOTAS = {
    "version 2": ("0::/job\n", {"job/cpu.max": "150000 100000"}, 1.5),
    "of a group around it": ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 0.5),
    "of the container": ("0::/docker/abc\n", {"cpu.max": "400000 100000"}, 4.0),
    "none": ("0::/job\n", {"job/cpu.max": "max 100000"}, None),
    "version 1": (V1, {"cpu/docker/abc/cpu.cfs_quota_us": "200000", "cpu/docker/abc/cpu.cfs_period_us": "100000"}, 2.0),
    "version 1, none": (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    "no such files": (V1, {}, None),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_quota_of_control_groups(case, tmp_path):
    groups, files, expected = QUOTAS[case]
    (tmp_path / "cgroup").write_text(groups)
    for name, content in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(content + "\n")
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "fs") == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    everything = available_cores()
    assert 1 <= everything <= len(allowed)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert available_cores() == 1
    assert allowed_cores() == everything  # one process uses fewer, and several together do not


def test_a_run_says_and_keeps_its_number_also_when_it_goes_on(train):
    before = torch.get_num_threads()
    # Nothing in such a small run is worth a second thread, so that the second has nothing to wait for.
    short = ["runner.max_iters=1", "data.transforms.resize=null", "data.batch_size=2", "evaluation=none"]
    try:
        first = train("runner.threads=2", *short)
        assert re.search(r"model: .* on cpu.*, 2 threads$", first.out, re.MULTILINE)
        assert torch.get_num_threads() == 2
        again = train(f"resume={first.run_dir}", "runner.max_iters=2", "runner.threads=auto")
        assert again.status == 0, again.err
        assert torch.get_num_threads() == 2
        fresh = train(*short)
        assert re.search(r"model: .* on cpu.*, 1 thread$", fresh.out, re.MULTILINE)
    finally:
        torch.set_num_threads(before)
    stored = yaml.safe_load(read(fresh.run_dirs[-1] / "checkpoints" / "last.pt")["config"])
    assert stored["runner"]["threads"] == 1
