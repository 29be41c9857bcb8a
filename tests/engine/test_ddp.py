"""Several processes make the run that one makes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.engine import ddp_runs
from tests.engine.together import together
from torch import nn

from hookline.data.batch import Batch
from hookline.engine.ddp import DataParallel
from hookline.engine.processes import Processes
from hookline.losses import CrossEntropy

RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipped and in parts": {"update": {"micro_batches": 3, "grad_clip": {"max_norm": 0.5}}},
    "class weights": {"loss": "weighted", "update": {"log_grad_norm": True}},
    "torch's class weights in parts": {"loss": "torch-weighted", "update": {"micro_batches": 2}},
    "sum": {"loss": "sum", "lr": 0.005},
    "ignored labels": {"loss": "ignoring"},
    "frozen at first": {"freeze": {"patterns": ["conv"], "epochs": 3}, "update": {"grad_clip": {"agc": 0.05}}},
    "skipping": {"update": {"skip_nonfinite": True, "grad_clip": {"value": 0.02}}},
    "batch norm": {"norm": True, "sync_batchnorm": True},
}
NUMBERS = {torch.float64: 1e-9, torch.float32: 1e-4}


def close(found: Any, expected: Any, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def alone():
    kept: dict[Any, dict[str, Any]] = {}

    def of(name: str, dtype: torch.dtype) -> dict[str, Any]:
        if (name, dtype) not in kept:
            kept[name, dtype] = ddp_runs.train(Processes(), {**RUNS[name], "dtype": dtype})
        return kept[name, dtype]

    return of


FEW = ["clipped and in parts", "torch's class weights in parts", "batch norm"]


@pytest.mark.parametrize(
    ("count", "dtype", "names"),
    [
        (2, torch.float64, list(RUNS)),
        pytest.param(4, torch.float64, FEW, marks=pytest.mark.slow),
        pytest.param(2, torch.float32, FEW, marks=pytest.mark.slow),
        pytest.param(4, torch.float32, list(RUNS), marks=pytest.mark.slow),
    ],
    ids=["two-float64", "four-float64", "two-float32", "four-float32"],
)
def test_the_run_is_that_of_one_process(alone, count, dtype, names):
    given = [{**RUNS[name], "dtype": dtype} for name in names]
    found = together(count, ddp_runs.train_each, given, limit=240)
    for number, name in enumerate(names):
        expected, own = alone(name, dtype), [answers[number] for answers in found]
        for answer in own:
            assert answer["iterations"] == 50
            assert answer["weights"].keys() == expected["weights"].keys(), name
            for part in ("weights", "averages", "history", "losses"):
                close(answer[part], expected[part], NUMBERS[dtype] if part != "history" else 1e-3)
        # To the last bit, times included.
        assert all(answer["rows"] == own[0]["rows"] for answer in own), name
        assert all(answer["losses"] == own[0]["losses"] for answer in own), name
        for answer in own[1:]:
            close(answer["weights"], own[0]["weights"], 0)


@pytest.mark.parametrize("loss", [CrossEntropy(weight=[1.0, 2.0, 3.0]), nn.CrossEntropyLoss()], ids=["mine", "torch's"])
def test_a_loss_is_in_one_type_in_a_process_without_a_sample_too(loss):
    batch = Batch(torch.rand(4, 1, 2, 2), torch.arange(4) % 3, torch.arange(4), whole=4)
    total = DataParallel(processes=Processes()).total_weight(loss, batch)
    assert (torch.tensor(1.0) / total).dtype == torch.float32
