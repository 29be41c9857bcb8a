"""A config shards a run: with mixed precision or without, and what cannot be is told."""

from __future__ import annotations

import pytest
import torch
from tests.engine import ddp_runs
from tests.engine.together import together

import hookline
from hookline.engine.processes import Processes

SHORT = ["runner.max_epochs=1", "runner.device=cpu", "data.samples_per_epoch=45", "data.batch_size=20"]
SHORT += ["hooks.lr_curve=null", "logger=csv", "runner.threads=1", "runner.val_batches=2", "distributed=fsdp"]
VIT = ["model=timm", "model.model_name=test_vit", "optimizer=adamw", "hooks=[default,ema]", "hooks.lr_curve=null"]
RUNS = {
    "norms": [*SHORT, "distributed.sync_batchnorm=true", "optimizer.lr=0.01"],
    "vit": [*SHORT, *VIT, "runner.threads=auto"],
    # The last batch has 5 samples, so that the second process's third part is empty, which a ViT cannot take.
    "parts": [*SHORT, *VIT, "update.micro_batches=3"],
    "checkpointing": [*SHORT, *VIT, "distributed.activation_checkpointing=true"],
    "bf16": [*SHORT, *VIT, "runner.precision=bf16"],
}
SAME = ("norms", "vit", "parts")
REFUSED = {
    "data.batch_size=22": "drop_last=true: ResNet cannot be trained on the last batch of an epoch, which has 1 sample",
    "distributed.activation_checkpointing=true": "batch norms in the blocks would count each batch twice",
    "distributed.precision=fp8": "must be one of auto, fp32, bf16, fp16",
    "logger.histograms=1": "logger: histograms must be null",
    "+hooks.mine._target_=hookline.hooks.first_nonfinite.FirstNonFiniteHook": "cannot be used with distributed=fsdp",
    "update.grad_clip={max_norm: 1, norm_type: inf}": "norm_type=inf: must be a number with distributed=fsdp",
    "update.grad_clip.agc=0.1": "update.grad_clip.agc=0.1: must be null with distributed=fsdp",
    "optimizer=adamp": "optimizer: AdamP needs whole parameters",
}

# The tests share what the processes gave, so one process of the suite runs them all.
pytestmark = pytest.mark.xdist_group("fsdp_config")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    given = [RUNS[name] for name in SAME]
    return ddp_runs.each_from_config(Processes(), str(tmp_path_factory.mktemp("alone")), given)


@pytest.fixture(scope="module")
def found(folder):
    given = [*RUNS.values(), *([*SHORT, wrong] for wrong in REFUSED)]
    answers = together(2, ddp_runs.each_from_config, str(folder), given, limit=120)
    return [dict(zip((*RUNS, *REFUSED), own, strict=True)) for own in answers]


@pytest.mark.parametrize("name", SAME)
def test_the_run_is_that_of_one_process(alone, found, name):
    expected = dict(zip(SAME, alone, strict=True))[name]
    for answers in found:
        own = answers[name]
        torch.testing.assert_close(own["weights"], expected["weights"], rtol=1e-4, atol=1e-4)
        assert [row.keys() for row in own["history"]] == [row.keys() for row in expected["history"]]
        assert own["rows"] == found[0][name]["rows"]


def test_activations_that_are_computed_again_change_nothing(found):
    for answers in found:
        torch.testing.assert_close(answers["checkpointing"]["weights"], answers["vit"]["weights"], rtol=0, atol=0)


def test_mixed_precision_keeps_weights_in_float32(found):
    for answers in found:
        own, full = answers["bf16"], answers["vit"]
        assert {value.dtype for value in own["weights"].values()} == {torch.float32}
        assert own["history"][-1]["train/loss"] != full["history"][-1]["train/loss"]
        assert own["history"][-1]["train/loss"] == pytest.approx(full["history"][-1]["train/loss"], rel=0.02)


@pytest.mark.parametrize("weights", ["best", "last", "ema"])
def test_what_was_trained_opens_in_one_process(folder, found, weights):
    trained = hookline.load(folder / "1", weights=weights, device="cpu")
    kind = "averages" if weights == "ema" else "weights"
    expected = found[0]["vit"][kind]["ema"] if weights == "ema" else found[0]["vit"][kind]
    torch.testing.assert_close(dict(trained.model.state_dict()), dict(expected), rtol=0, atol=0)
    assert trained.predict(torch.zeros(1, 8, 8, dtype=torch.uint8))[0].classes


@pytest.mark.parametrize("file", ["best.pt", "last.pt"])
def test_another_run_starts_from_the_file(folder, found, file):
    path = folder / "1" / "checkpoints" / file
    cfg = ["model=timm", "model.model_name=test_vit", f"model.checkpoint_path={path}", "model.checkpoint_weights=model"]
    model = ddp_runs.model_from_config(cfg)
    torch.testing.assert_close(dict(model.state_dict()), dict(found[0]["vit"]["weights"]), rtol=0, atol=0)


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_cannot_be_sharded_is_told(found, wrong):
    for answers in found:
        assert REFUSED[wrong] in answers[wrong]
