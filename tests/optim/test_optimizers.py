"""Every optimizer option: whole, and it trains."""

from __future__ import annotations

import inspect
import sys

import pytest
import timm.optim
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf
from tests.conftest import ROOT, thinned

from hookline.config.errors import ConfigError
from hookline.config.instantiate import to_plain
from hookline.optim.build import BaseValues, base_values, build_optimizer
from hookline.optim.kernels import choose_kernel

CONF = ROOT / "conf"

OPTIONS = sorted(p.stem for p in (CONF / "optimizer").glob("*.yaml") if p.stem != "custom")
# Not dense, not for every shape, or in need of a closure.
WITHOUT_OPTION = {"Optimizer", "SparseAdam", "LBFGS", "Muon"}


def test_every_dense_optimizer_of_torch_has_an_option():
    there = {OmegaConf.load(CONF / "optimizer" / f"{name}.yaml")._target_ for name in OPTIONS}
    wanted = {
        f"torch.optim.{name}"
        for name, cls in vars(torch.optim).items()
        if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer) and name not in WITHOUT_OPTION
    }
    assert wanted <= there
    assert {f"timm.optim.{name}" for name in ("Lamb", "Lars", "Lion", "Adan", "NAdamW", "Muon")} <= there


@pytest.mark.parametrize("name", OPTIONS)
def test_option_shows_the_whole_signature_with_a_comment_on_each_key(name):
    path = CONF / "optimizer" / f"{name}.yaml"
    node = OmegaConf.load(path)
    parameters = inspect.signature(get_object(node._target_)).parameters
    assert [key for key in node if key != "_target_"] == [key for key in parameters if key != "params"]
    bare = [line for line in path.read_text().splitlines() if "#" not in line and "_target_" not in line]
    assert [line.split(":")[0] for line in bare if line.strip()] in ([], ["momentum"])


@pytest.mark.parametrize("name", thinned(OPTIONS))
def test_option_trains_digits(name, runner):
    run = runner(f"optimizer={name}", "data.transforms.resize=null", "data.batch_size=32")
    batch = next(run.train_loader.batches(0))
    run.update.begin_epoch(0)
    losses = [run.update(batch)["loss"].item() for _ in range(8)]
    assert losses[-1] < 0.97 * losses[0], losses


def test_own_optimizer_from_outside_the_repository(tmp_path, monkeypatch, runner):
    (tmp_path / "elsewhere_optim.py").write_text(
        "import torch\n"
        "class SignDescent(torch.optim.Optimizer):\n"
        "    def __init__(self, params, lr=1e-3, sharpness=1.0):\n"
        "        super().__init__(params, dict(lr=lr, sharpness=sharpness))\n"
        "    @torch.no_grad()\n"
        "    def step(self, closure=None):\n"
        "        for g in self.param_groups:\n"
        "            for p in g['params']:\n"
        "                p.sub_(g['lr'] * torch.tanh(g['sharpness'] * p.grad))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = runner(
        "optimizer=custom",
        "optimizer._target_=elsewhere_optim.SignDescent",
        "+optimizer.sharpness=30.0",
        "optimizer.lr=0.02",
        "param_groups=paramwise",
        "param_groups.custom_keys={fc:{lr_mult:0.5}}",
    )
    assert type(run.optimizer).__module__ == "elsewhere_optim"
    assert [(g["name"], g["lr"], g["sharpness"]) for g in run.optimizer.param_groups] == [
        ("base", 0.02, 30.0),
        ("fc", 0.01, 30.0),
    ]
    before = run.model.fc.weight.detach().clone()
    run.run()
    assert not torch.equal(before, run.model.fc.weight)
    sys.modules.pop("elsewhere_optim")


def test_what_an_option_leaves_behind_for_another_class_is_dropped_and_nothing_else():
    sgd = to_plain(OmegaConf.load(CONF / "optimizer" / "sgd.yaml"), "optimizer")  # type: ignore[arg-type]
    node = sgd | {"_target_": "timm.optim.Lion", "lr": 0.01}
    assert build_optimizer(node, model_on(), option=sgd).param_groups[0]["lr"] == 0.01
    for wrong in ({"momentum": 0.8}, {"momentm": 0.9}):
        with pytest.raises(ConfigError, match="takes no argument"):
            build_optimizer(node | wrong, model_on(), option=sgd)


def test_unknown_parameter_names_the_nearest(runner):
    with pytest.raises(ConfigError, match=r"optimizer\.momentm=0\.9: .*Did you mean 'momentum'"):
        runner("+optimizer.momentm=0.9")


def test_an_optimizer_that_needs_a_closure_is_refused_with_the_reason(runner):
    with pytest.raises(ConfigError, match=r"optimizer\._target_=torch\.optim\.LBFGS: cannot be used.*closure"):
        runner("optimizer._target_=torch.optim.LBFGS")


def test_base_values_fall_back_to_the_class():
    assert base_values({"_target_": "torch.optim.AdamW"}) == BaseValues(1e-3, 1e-2)
    assert base_values({"_target_": "torch.optim.Rprop", "lr": 0.5}) == BaseValues(0.5, None)


def model_on(device: str = "cpu", dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    return torch.nn.Linear(3, 2, device=device, dtype=dtype)


def test_fused_is_the_default_where_it_is_valid():
    model = model_on()
    for cls in ("SGD", "AdamW", "Adam", "Adagrad"):
        optimizer = build_optimizer({"_target_": f"torch.optim.{cls}", "lr": 0.1, "fused": None}, model)
        assert optimizer.defaults["fused"] is True, cls
    for given in ({"fused": False}, {"foreach": True}, {"foreach": False}, {"differentiable": True}):
        assert choose_kernel(torch.optim.SGD, given, model.parameters()) == {}, given
    assert choose_kernel(torch.optim.SGD, {}, model_on("meta").parameters()) == {}
    assert choose_kernel(torch.optim.SGD, {}, model_on(dtype=torch.complex64).parameters()) == {}
    assert choose_kernel(torch.optim.SGD, {"momentum": 0.9, "dampening": 0.1}, model.parameters()) == {}
    assert choose_kernel(torch.optim.RMSprop, {}, model.parameters()) == {}

    class Own(torch.optim.Optimizer):
        def __init__(self, params, fused=None): ...

    assert choose_kernel(Own, {}, model.parameters()) == {}
    assert choose_kernel(timm.optim.Lamb, {}, model.parameters()) == {}


def test_fused_steps_equal_the_others_also_when_a_parameter_joins_later():
    weights = []
    for fused in (True, False):
        torch.manual_seed(0)
        model = torch.nn.Linear(20, 20)
        node = {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9, "fused": fused, "weight_decay": 1e-3}
        optimizer = build_optimizer(node, model)
        for step in range(10):
            optimizer.zero_grad()
            model.bias.requires_grad_(step >= 5)
            model(torch.ones(3, 20)).square().mean().backward()
            optimizer.step()
        weights.append(torch.cat([model.weight.detach().flatten(), model.bias.detach()]))
    torch.testing.assert_close(*weights)


def test_a_class_put_in_an_options_place_through_the_command_line(tmp_path, monkeypatch, train):
    (tmp_path / "elsewhere_sgd.py").write_text(
        "import torch\n"
        "class MySGD(torch.optim.SGD):\n"
        "    def __init__(self, params, lr=0.1, beta=0.5):\n"
        "        super().__init__(params, lr=lr, momentum=beta)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    short = ["runner.max_iters=1", "data.transforms.resize=null"]
    assert train("optimizer._target_=elsewhere_sgd.MySGD", "+optimizer.beta=0.3", *short).status == 0
    wrong = train("optimizer._target_=elsewhere_sgd.MySGD", "+optimizer.betta=0.3", *short)
    assert wrong.status == 2
    assert "Did you mean 'beta'" in wrong.err


WRONG = [
    *[f"{name} lr={value}" for name in OPTIONS for value in ("-1", "nan", "inf", "true")],
    *("sgd momentum=1", "lars momentum=1.5", "adamw betas=[2,0.9]", "lamb betas=[0.9,1]", "adan betas=[0.9,-1,0.9]"),
    *("lion weight_decay=-1", "adamp weight_decay=inf", "adam eps=-1", "rmsprop alpha=2", "muon ns_steps=0"),
    *("muon adjust_lr_fn=nope", "mars mars_type=shampoo", "adadelta rho=1", "asgd t0=nan", "sgd nesterov=2"),
    *("adam differentiable=true", "adam capturable=true", "lamb max_grad_norm=0", "adafactor_bv decay_rate=-1"),
]


@pytest.mark.parametrize("case", WRONG)
def test_what_no_optimizer_can_have_is_refused_by_its_key(case):
    name, _, setting = case.partition(" ")
    node = OmegaConf.merge(OmegaConf.load(CONF / "optimizer" / f"{name}.yaml"), OmegaConf.from_dotlist([setting]))
    with pytest.raises(ConfigError, match=rf"^optimizer\.{setting.partition('=')[0]}=.*: must be "):
        build_optimizer(node, model_on())


KINDS = [
    (name, setting)
    for name in OPTIONS
    for setting in ("betas=0.9", "lr=fast", "momentum=x", "weight_decay=[1]")
    if setting.partition("=")[0] in OmegaConf.load(CONF / "optimizer" / f"{name}.yaml")
]


@pytest.mark.parametrize(("name", "setting"), KINDS)
def test_a_value_of_the_wrong_kind_is_refused_by_its_key(name, setting):
    node = OmegaConf.merge(OmegaConf.load(CONF / "optimizer" / f"{name}.yaml"), OmegaConf.from_dotlist([setting]))
    with pytest.raises(ConfigError, match=rf"^optimizer\.{setting.partition('=')[0]}=.*: must be "):
        build_optimizer(node, model_on())


def test_an_optimizer_for_sparse_gradients_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match=r"optimizer\._target_=torch\.optim\.SparseAdam: cannot be used.*sparse"):
        build_optimizer({"_target_": "torch.optim.SparseAdam", "lr": 0.1}, model_on())
