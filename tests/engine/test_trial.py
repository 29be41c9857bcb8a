"""The trial of a run's parts: it names what cannot work, and leaves nothing changed."""

from __future__ import annotations

import random

import numpy
import pytest
import torch
from tests.toy import ToySource, toy_loader, toy_runner
from torch import nn

from hookline.config.errors import ConfigError
from hookline.data import Batch
from hookline.engine.trial import check_metrics, check_model, check_update
from hookline.engine.unchanged import unchanged
from hookline.metrics import TopK
from hookline.models.work import flops_per_layer


def dropping() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


OPTIMIZERS = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.1),
    "adagrad": lambda model: torch.optim.Adagrad(model.parameters(), lr=0.1),
}


def trained(optimizer: str, precision: str, tries: int):
    """Return what two epochs leave, with so many trials before them."""
    model = dropping()
    update = {"grad_clip": {"max_norm": 1.0}}
    runner = toy_runner(model=model, optimizer=OPTIMIZERS[optimizer](model), precision=precision, update=update)
    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
    for _ in range(tries):
        check_update(runner.update, next(runner.train_loader.batches(0)), batch_size=4, last=3)
    drawn = random.random(), numpy.random.rand(), torch.rand(1).item()
    runner.run()
    state = runner.state_dict()["parts"]
    return {**model.state_dict(), "drawn": drawn, "optimizer": state["optimizer"]["state"], "scaler": state["scaler"]}


def same(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_is_the_same_bit_for_bit(optimizer, precision):
    plain, tried = trained(optimizer, precision, 0), trained(optimizer, precision, 2)
    assert same(plain, tried)


def test_nothing_stays_changed_where_the_trial_fails():
    model = dropping()
    model[0].eval()
    model[1].weight.requires_grad_(False)
    model[4].bias.grad = torch.ones(3)
    runner = toy_runner(model=model)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def break_off() -> None:
        with unchanged(runner.update):
            runner.update.begin_epoch(0)
            runner.update(next(runner.train_loader.batches(0)))
            model.calls = 3
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        break_off()
    assert same(dict(model.state_dict()), before)
    assert [module.training for module in model] == [False, True, True, True, True]
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True, True, True]
    assert [p.grad is None for p in model.parameters()] == [True] * 5 + [False]
    assert not hasattr(model, "calls")


class Wrong(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, logits, targets):
        value = nn.functional.cross_entropy(logits, targets)
        return {"none": None, "float": 1.0, "detached": value.detach(), "vector": logits.sum(1)}[self.kind]


class Tuple(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))

    def forward(self, images):
        return (self.body(images), self.body(images)) if self.training else self.body(images)


class Mute(Exception):
    def __str__(self):
        raise ValueError("no text")


class Failing(nn.Module):
    """Fails with an error that gives no text."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, *given):
        raise Mute


class Idle(torch.optim.SGD):
    def step(self, closure=None): ...


class Scaled(nn.Module):
    """A linear model, its logits times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        self.factor = factor

    def forward(self, images):
        return self.body(images) * self.factor


class Refusing(torch.optim.SGD):
    def step(self, closure=None):
        raise ValueError("I make no step")


@pytest.mark.parametrize(
    ("options", "size", "last", "expected"),
    [
        ({"model": dropping()}, 4, 1, ["data.batch_size=4: must be another, or data.drop_last=true", "1 sample"]),
        ({"model": dropping()}, 1, 1, ["data.batch_size=1: must be larger", "batches of 1 sample"]),
        ({"model": dropping(), "update": {"micro_batches": 3}}, 4, 4, ["update.micro_batches=3: must be smaller"]),
        ({"model": Tuple()}, 4, 4, ["model: Tuple must return logits", "a tuple", "aux_logits"]),
        ({"model": nn.Flatten()}, 4, 4, ["loss: CrossEntropyLoss must return", "does not depend on the logits"]),
        ({"loss": Wrong("none")}, 4, 4, ["loss: Wrong must return one number", "a NoneType"]),
        ({"loss": Wrong("float")}, 4, 4, ["loss: Wrong must return one number", "a float"]),
        ({"loss": Wrong("detached")}, 4, 4, ["loss: Wrong must return one number", "does not depend"]),
        ({"loss": Wrong("vector")}, 4, 4, ["loss: Wrong must return one number", "shape (4,)"]),
        ({"loss": nn.CrossEntropyLoss(weight=torch.ones(2))}, 4, 4, ["loss: "]),
        ({"loss": nn.CrossEntropyLoss(weight=torch.zeros(3))}, 4, 4, ["loss: CrossEntropyLoss is nan"]),
        ({"loss": nn.CrossEntropyLoss(weight=torch.full((3,), torch.inf))}, 4, 3, ["loss: CrossEntropyLoss is nan"]),
        ({"model": Scaled(torch.nan)}, 4, 4, ["model: Scaled gives logits that are not finite", "1x2x2", "in fp32"]),
        ({"model": Scaled(1e30), "precision": "fp16"}, 4, 4, ["model: Scaled gives logits", "in fp16"]),
        ({"model": Failing()}, 4, 4, ["model: Failing cannot be trained on the data's 1x2x2 images: Mute"]),
        ({"loss": Failing()}, 4, 4, ["loss: Mute"]),
        ({"refusing": True}, 4, 4, ["optimizer: Refusing cannot make a step: I make no step"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_part_to_blame_is_named(options, size, last, expected):
    if options.pop("refusing", False):
        options["model"] = dropping()
        options["optimizer"] = Refusing(options["model"].parameters(), lr=0.1)
    if isinstance(options.get("model"), nn.Flatten):
        options["optimizer"] = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    update = toy_runner(**options).update
    batch = next(toy_loader(batch_size=size).batches(0))
    with pytest.raises(ConfigError) as error:
        check_update(update, batch, batch_size=size, last=last)
    assert all(word in str(error.value) for word in expected), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("part", ["model", "loss"])
def test_an_error_without_a_text_is_told_by_its_kind(part):
    update = toy_runner(**{part: Failing()}).update
    with pytest.raises(ConfigError, match=f"^{part}: Failing cannot .*: Mute$"):
        check_model(update.forward, update.loss, next(toy_loader().batches(0)), 3)


def test_images_that_are_not_finite_are_the_datas_fault():
    batch = next(toy_loader().batches(0))
    batch.images[0] = torch.inf
    with pytest.raises(ConfigError, match=r"^data\.train_transforms: "):
        check_update(toy_runner().update, batch, batch_size=4, last=4)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 1e30},  # the second loss is not finite, and that is for the run to tell
        {"model": Scaled(1e4), "precision": "fp16"},  # gradients overflow, the step is skipped
        {"lr": 0.0},
        {"loss": nn.CrossEntropyLoss(weight=torch.tensor([0.0, 1, 1]))},  # the last batch's one sample has no weight
    ],
    ids=["large lr", "overflow in fp16", "lr 0", "a batch without weight"],
)
def test_what_may_happen_in_a_run_is_let_without_a_word(options, caplog):
    batch = next(toy_loader(samples=4).batches(0))
    check_update(toy_runner(**options).update, batch, batch_size=4, last=1)
    assert not caplog.records


@pytest.mark.parametrize("lr", [0.1, 1e-30])
def test_an_update_that_changes_no_parameter_is_warned_of(lr, caplog):
    model = Scaled(1.0)
    kind = Idle if lr == 0.1 else torch.optim.SGD
    update = toy_runner(model=model, optimizer=kind(model.parameters(), lr=lr)).update
    check_update(update, next(toy_loader().batches(0)), batch_size=4, last=4)
    (record,) = caplog.records
    assert record.getMessage().startswith("optimizer: the first update changes no parameter")
    assert f"{lr:g}" in record.getMessage()


def test_an_update_that_can_do_with_a_tuple_is_let():
    class Both(type(toy_runner().update)):
        def __call__(self, batch, before_backward=None):
            logits, other = self.forward(batch.images)
            loss = self.loss(logits, batch.targets) + self.loss(other, batch.targets)
            return {"loss": loss, "logits": logits, "mine": loss.detach()}

    plain = toy_runner(model=Tuple()).update
    update = Both(forward=plain.forward, loss=plain.loss, optimizer=plain.optimizer)
    outputs = check_update(update, next(toy_loader().batches(0)), batch_size=4, last=4)
    assert set(outputs) == {"loss", "logits", "mine"}


def test_what_the_metrics_measure():
    runner = toy_runner()
    batch = next(toy_loader().batches(0))
    metrics = {"first": TopK(1), "second": TopK(2)}
    assert check_metrics(runner.update.forward, metrics, batch) == ["top1", "top2"]


class Bad:
    def __init__(self, numbers):
        self.numbers = numbers

    def reset(self): ...

    def update(self, outputs, batch):
        if self.numbers is None:
            raise KeyError("no such thing")

    def compute(self):
        return self.numbers


@pytest.mark.parametrize(("numbers", "expected"), [(None, "no such thing"), (3.0, "must return a dict of numbers")])
def test_a_metric_that_cannot_be_used(numbers, expected):
    batch = next(toy_loader().batches(0))
    with pytest.raises(ConfigError, match=f"evaluation.metrics.mine: .*{expected}"):
        check_metrics(toy_runner().update.forward, {"mine": Bad(numbers)}, batch)


def test_batches_keep_their_weights():
    source = ToySource(samples=4)
    batch = Batch(source.images.float(), source.targets, torch.arange(4), torch.tensor([1.0, 1, 0, 0]))
    outputs = check_update(toy_runner().update, batch, batch_size=4, last=2)
    assert outputs["logits"].shape == (4, 3)


def test_a_whole_run_is_the_same_with_and_without(runner, monkeypatch):
    overrides = ["hooks=ema", "mix=both", "runner.max_iters=4", "data.batch_size=400", "optimizer=adamw"]
    overrides += ["data.transforms.resize=null", "freeze.patterns=[conv1]", "freeze.epochs=1", "runner.threads=1"]
    with_trial = runner(*overrides)
    with_trial.run()
    monkeypatch.setattr("hookline.engine.trial.try_out", lambda *_: ["val/top1"])
    without = runner(*overrides)
    without.run()
    one, other = with_trial.state_dict()["parts"], without.state_dict()["parts"]
    for part in ("model", "optimizer", "scaler", "random", "hooks.ema"):
        assert same(one[part], other[part]), part
    assert [row["train/loss"] for row in with_trial.history] == [row["train/loss"] for row in without.history]


class Remembering(nn.Module):
    """Counts its calls, and keeps what depends on the size of an image alone, as rotary embeddings do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.calls, self.sizes, self.grid = nn.Linear(4, 3), 0, [], None

    def forward(self, images):
        self.calls += 1
        self.sizes.append(len(images))
        if self.grid is None:
            self.grid = torch.linspace(0, 1, 4, device=images.device)
        return self.linear(images.flatten(1)) + (self.linear.weight * self.grid).sum()


class CountingLoss:
    """A loss that is no module."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, logits, targets):
        self.calls += 1
        return nn.functional.cross_entropy(logits, targets)


def test_what_a_model_and_a_loss_keep_of_a_trial_is_forgotten():
    model, loss = Remembering(), CountingLoss()
    sizes = model.sizes
    runner = toy_runner(model=model, loss=loss)
    batch = next(runner.train_loader.batches(0))
    assert flops_per_layer(model, (4, 1, 2, 2)) > 0
    check_model(runner.update.forward, loss, batch, 3)
    check_update(runner.update, batch, batch_size=4, last=2)
    assert (model.calls, model.sizes, model.grid, loss.calls) == (0, [], None, 0)
    assert model.sizes is sizes
    runner.update(batch)
    assert (model.calls, loss.calls) == (1, 1)
