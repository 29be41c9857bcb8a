"""Several processes, each with a part of the weights, make the run that one makes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.engine import ddp_runs
from tests.engine.together import together

from hookline.engine.processes import Processes

BLOCKS = {"blocks": 2, "iters": 13}
RUNS: dict[str, dict[str, Any]] = {
    "plain": BLOCKS,
    "clipped and in parts": {**BLOCKS, "update": {"micro_batches": 3, "grad_clip": {"max_norm": 0.5}}},
    "clipped by the largest": {**BLOCKS, "update": {"grad_clip": {"max_norm": 0.05, "norm_type": "inf"}}},
    "class weights": {**BLOCKS, "loss": "weighted", "update": {"log_grad_norm": True}},
    "frozen at first": {**BLOCKS, "freeze": {"patterns": ["conv", "blocks.0"], "epochs": 3}},
    "skipping": {**BLOCKS, "update": {"skip_nonfinite": True, "grad_clip": {"value": 0.02}}},
    "batch norm": {**BLOCKS, "norm": True, "sync_batchnorm": True},
    "no blocks": {"iters": 13},
}
NUMBERS = {torch.float64: 1e-9, torch.float32: 1e-4}


def close(found: Any, expected: Any, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("count", "dtype"), [(2, torch.float64), (2, torch.float32), (4, torch.float64)], ids=str)
def test_the_run_is_that_of_one_process(count, dtype):
    given = [{**options, "dtype": dtype, "shard": {}} for options in RUNS.values()]
    found = together(count, ddp_runs.train_each, given)
    for number, name in enumerate(RUNS):
        expected, own = ddp_runs.train(Processes(), given[number]), [answers[number] for answers in found]
        for answer in own:
            assert answer["weights"].keys() == expected["weights"].keys(), name
            for part in ("weights", "averages", "history", "losses"):
                close(answer[part], expected[part], NUMBERS[dtype] if part != "history" else 1e-3)
        assert all(answer["rows"] == own[0]["rows"] for answer in own), name
        for answer in own[1:]:
            close(answer["weights"], own[0]["weights"], 0)
