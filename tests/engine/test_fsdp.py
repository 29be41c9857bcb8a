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
    "clipped by another norm": {**BLOCKS, "update": {"grad_clip": {"max_norm": 0.05, "norm_type": 3.0}}},
    "class weights": {**BLOCKS, "loss": "weighted", "update": {"log_grad_norm": True}},
    "frozen at first": {**BLOCKS, "freeze": {"patterns": ["conv", "blocks.0"], "epochs": 3}},
    "skipping": {**BLOCKS, "update": {"skip_nonfinite": True, "grad_clip": {"value": 0.02}}},
    "batch norm": {**BLOCKS, "norm": True, "sync_batchnorm": True},
    "no blocks": {"iters": 13},
}
NUMBERS = {torch.float64: 1e-9, torch.float32: 1e-4}


def close(found: Any, expected: Any, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


CASES = [(2, torch.float64, ()), (2, torch.float32, pytest.mark.slow), (4, torch.float64, pytest.mark.slow)]


@pytest.mark.parametrize(
    ("count", "dtype"), [pytest.param(n, dtype, marks=marks) for n, dtype, marks in CASES], ids=str
)
def test_the_run_is_that_of_one_process(count, dtype):
    given = [{**options, "dtype": dtype, "shard": {}} for options in RUNS.values()]
    found = together(count, ddp_runs.train_each, given, limit=240)
    for number, name in enumerate(RUNS):
        expected, own = ddp_runs.train(Processes(), given[number]), [answers[number] for answers in found]
        for answer in own:
            assert answer["weights"].keys() == expected["weights"].keys(), name
            for part in ("weights", "averages", "history", "losses"):
                close(answer[part], expected[part], NUMBERS[dtype] if part != "history" else 1e-3)
        assert all(answer["rows"] == own[0]["rows"] for answer in own), name
        for answer in own[1:]:
            close(answer["weights"], own[0]["weights"], 0)


def test_mixed_precision_gathers_in_it_and_forgotten_activations_are_not_kept():
    found = together(2, ddp_runs.sharded_passes, [{}, {"precision": "bf16"}, {"activation_checkpointing": True}])
    for plain, half, forgetting in found:
        assert (half["gathered"], half["own"]) == ("torch.bfloat16", "torch.float32")
        assert (plain["gathered"], plain["own"]) == ("torch.float32", "torch.float32")
        assert forgetting["kept"] < 0.6 * plain["kept"]


@pytest.mark.cuda
def test_weights_in_parts_take_less_memory_on_a_gpu():
    if torch.cuda.device_count() < 2:
        pytest.skip("two GPUs are needed")
    whole, parts = (together(2, ddp_runs.memory_on_gpus, sharded) for sharded in (False, True))
    assert max(parts) < 0.75 * min(whole)
