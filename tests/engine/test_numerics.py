"""How exactly a run computes: number formats, what is repeatable, and what the model is compiled with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.toy import toy_loader, toy_model, toy_runner
from torch import nn

from hookline.checkpoint import read
from hookline.config.errors import ConfigError
from hookline.engine import Forward
from hookline.engine.device import Generators
from hookline.engine.forward import resolve_precision
from hookline.engine.trial import check_model
from hookline.experiment import build_device, choose_numerics

TRAIN = str(Path(__file__).parents[2] / "src" / "train.py")
NEW_GPU = torch.cuda.is_available() and torch.cuda.get_device_capability()[0] >= 8


@pytest.fixture(autouse=True)
def afterwards(config):
    """Let the tests of this file leave the process as a run with the default config does."""
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    yield
    choose_numerics(config())
    if workspace is None:
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def settings() -> tuple[bool, ...]:
    cudnn = torch.backends.cudnn
    return (
        torch.are_deterministic_algorithms_enabled(),
        cudnn.deterministic,
        cudnn.benchmark,
        torch.backends.cuda.matmul.allow_tf32,
        cudnn.allow_tf32,
    )


def test_a_run_computes_as_its_own_config_says_whatever_ran_before(runner, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    short = ("data.transforms.resize=null", "evaluation=none", "runner.threads=1")
    runner("runner.deterministic=true", "runner.tf32=false", *short)
    assert settings() == (True, True, False, False, False)
    # cuBLAS gives the same bits with this setting alone, and reads it once.
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    runner("runner.cudnn_benchmark=false", *short)
    assert settings() == (False, False, False, True, True)
    runner(*short)
    assert settings() == (False, False, True, True, True)


def test_a_users_own_workspace_of_cublas_stays(config, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    choose_numerics(config("runner.deterministic=true"))
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


class Put(nn.Module):
    """Writes to places that may be the same one, in no order: torch has nothing repeatable for it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, images):
        logits = images.new_zeros(len(images), 3)
        return logits.put_(torch.tensor([0]), images.new_ones(1)) + self.weight


def test_an_operation_that_is_not_repeatable_is_named(config):
    choose_numerics(config("runner.deterministic=true"))
    batch = next(toy_loader().batches(0))
    told = r"^runner\.deterministic=true: put_ has no deterministic implementation on cpu; choose .*=false$"
    with pytest.raises(ConfigError, match=told):
        check_model(Forward(Put()), nn.CrossEntropyLoss(), batch, 3)


@pytest.mark.parametrize(("supported", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_on_a_gpu_that_has_it(supported, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert resolve_precision("auto", torch.device("cuda")) == chosen
    assert resolve_precision("auto", torch.device("cpu")) == "fp32"
    assert resolve_precision("fp16", torch.device("cuda")) == "fp16"


def test_the_precision_that_was_chosen_is_shown_and_kept(train):
    first = train("runner.max_iters=1", "data.transforms.resize=null", "runner.device=cpu", "runner.threads=1")
    assert ", on cpu, fp32, 1 thread" in first.out
    assert "precision: fp32\n" in (first.run_dir / ".hydra" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("given", "mode"), [(True, None), ("max-autotune-no-cudagraphs", "max-autotune-no-cudagraphs")]
)
def test_the_model_is_compiled_in_the_mode_asked_for(given, mode, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda model, mode: asked.append(mode) or model)
    Forward(toy_model(), compile=given)
    assert asked == [mode]


def test_logits_outlive_the_memory_of_a_cuda_graph(monkeypatch):
    memory = torch.zeros(2, 3)

    def compiled(model, mode):  # as a recorded graph, which writes each result to the same place
        return lambda images: memory.copy_(model(images).detach())

    monkeypatch.setattr(torch, "compile", compiled)
    forward = Forward(toy_model(), compile="reduce-overhead")
    first = forward(torch.zeros(2, 1, 2, 2))
    kept = first.clone()
    forward(torch.ones(2, 1, 2, 2))
    assert torch.equal(first, kept)


def test_without_a_compiler_one_line_says_what_is_missing(monkeypatch, tmp_path):
    import torch._inductor.config as inductor

    monkeypatch.setattr(inductor.cpp, "cxx", (None, "no-such-compiler"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    batch = next(toy_loader().batches(0))
    told = (
        r"^runner\.compile=default: there is no C\+\+ compiler here; install g\+\+, .* or choose runner\.compile=false$"
    )
    with pytest.raises(ConfigError, match=told):
        check_model(Forward(nn.Sequential(toy_model(), nn.GELU()), compile="default"), nn.CrossEntropyLoss(), batch, 3)


@pytest.mark.parametrize("words", ["Cannot find a working triton installation.", "Failed to find C compiler."])
def test_without_triton_or_its_compiler_one_line_says_so(words, monkeypatch):
    from torch._dynamo.exc import TorchDynamoException

    def compiled(model, mode):
        def fail(images):
            raise TorchDynamoException(f"{words} More about it.\n\nA trace")

        return fail

    monkeypatch.setattr(torch, "compile", compiled)
    batch = next(toy_loader().batches(0))
    with pytest.raises(ConfigError, match=r"^runner\.compile=true: there is no .*; install .*compile=false$"):
        check_model(Forward(toy_model(), compile=True), nn.CrossEntropyLoss(), batch, 3)


@pytest.mark.cuda
def test_deterministic_runs_on_a_gpu_end_with_the_same_bits(tmp_path):
    found = []
    for name in ("a", "b"):
        # Processes of their own: cuBLAS reads its setting once, and other tests have made it do so.
        options = ["runner.device=cuda", "runner.deterministic=true", "runner.max_epochs=2", "hooks.lr_curve=null"]
        command = [sys.executable, TRAIN, *options, f"hydra.run.dir={name}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        found.append(read(tmp_path / name / "checkpoints" / "last.pt")["parts"]["model"])
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


@pytest.mark.cuda
@pytest.mark.skipif(not NEW_GPU, reason="TF32 came with compute capability 8.0")
def test_tf32_rounds_products_and_false_does_not(config):
    torch.manual_seed(0)
    a, b = torch.rand(512, 512, device="cuda"), torch.rand(512, 512, device="cuda")
    exact = a.double() @ b.double()
    errors = {}
    for tf32 in ("true", "false"):
        choose_numerics(config(f"runner.tf32={tf32}"))
        errors[tf32] = ((a @ b).double() - exact).abs().max().item() / exact.abs().max().item()
    assert errors["false"] < 3e-6
    assert errors["true"] > 3 * errors["false"]


@pytest.mark.cuda
@pytest.mark.skipif(not NEW_GPU, reason="a GPU that computes in bf16")
def test_auto_says_that_it_takes_bf16_on_a_gpu(train):
    finished = train("runner.device=cuda", "runner.max_iters=1")
    assert "precision: bf16, which this GPU computes in (runner.precision=auto)" in finished.out


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune-no-cudagraphs"])
def test_every_mode_of_compiling_trains(train, precision, mode):
    options = [f"runner.precision={precision}", f"runner.compile={mode}", "runner.max_epochs=6", "hooks=ema"]
    finished = train("runner.device=cuda", *options)
    assert finished.status == 0, finished.err
    assert finished.result["best"]["val/top1"] > 90


@pytest.mark.cuda
def test_the_generators_of_all_gpus_go_on_from_a_state():
    devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]

    def drawn() -> list[float]:
        return [torch.rand(1, device=device).item() for device in devices]

    generators = Generators(build_device_of("cuda"))
    generators.seed(3)
    first = drawn()
    state = generators.state_dict()
    then = drawn()
    generators.seed(4)
    assert drawn() != first
    generators.load_state_dict(state)
    assert drawn() == then
    generators.seed(3)
    assert drawn() == first


@pytest.mark.cuda
def test_dropout_on_a_gpu_goes_on_from_a_checkpoint(tmp_path):
    def made(**length):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 32), nn.Dropout(0.5), nn.Linear(32, 3)).cuda()
        return toy_runner(model=model, loader=toy_loader(shuffle=True, device="cuda"), **length)

    whole, half, rest = made(max_epochs=3), made(max_iters=7), made(max_epochs=3)
    whole.run()
    half.run()
    rest.run(half.state_dict())
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name


def build_device_of(name: str) -> torch.device:
    """Return the device that `runner.device` names."""
    from omegaconf import OmegaConf

    return build_device(OmegaConf.create({"runner": {"device": name}}))
