"""The preview and the training give the same names and the same numbers to the same things."""

from __future__ import annotations

import csv

import pytest
from tests.commands.event_files import scalars
from tests.conftest import thinned

from hookline.commands.plot_lr import plot_lr
from hookline.hooks import Hook

SHORT = ["data.transforms.resize=null", "data.batch_size=200", "runner.max_iters=10"]
SCHEDULES = ["lr_schedule=cyclic", "momentum_schedule=cyclic", "weight_decay_schedule=cosine"]
PARAMWISE = ["param_groups=paramwise", "param_groups.norm_decay_mult=0", "param_groups.head_lr_mult=5"]
LAYER_DECAY = ["optimizer=adamw", "param_groups=layer_decay"]

RUNS = {
    "one group": [],
    "one group, scheduled": SCHEDULES,
    "one group, no momentum": ["optimizer=adagrad"],
    "one group, another field": [
        *("optimizer=rmsprop", "+alpha_schedule._target_=hookline.schedules.Linear", "+alpha_schedule.min_alpha=0.5")
    ],
    "scaled": ["auto_scale_lr.base_batch_size=50"],
    "paramwise": PARAMWISE,
    "paramwise, scheduled": [*PARAMWISE, *SCHEDULES],
    "layer decay": LAYER_DECAY,
    "layer decay, scheduled": [*LAYER_DECAY, *SCHEDULES, "lr_schedule.warmup=exp", "lr_schedule.warmup_iters=30%"],
    "frozen": [*LAYER_DECAY, "freeze.until=layer1"],
    "paramwise by name": ["param_groups.custom_keys={layer1:{lr_mult:0.1}}", *PARAMWISE],
}


@pytest.fixture
def both(run_task, train):
    """Return a function: a preview's folder and a training's run directory for the same overrides."""

    def run(*arguments: str):
        previewed = run_task(plot_lr, "plot_lr", "preview.output_dir=curves", *SHORT, *arguments)
        assert previewed.status == 0, previewed.err
        trained = train("logger.interval=1", "checkpoint=none", "evaluation=none", *SHORT, *arguments)
        assert trained.status == 0, trained.err
        return previewed.cwd / "curves", trained.run_dir

    return run


@pytest.mark.parametrize("name", thinned(RUNS, 5))
def test_tags_and_values(name, both):
    curves, run_dir = both(*RUNS[name])
    previewed, trained = scalars(curves / "tensorboard"), scalars(run_dir / "tensorboard")
    fields = {tag.partition("/")[0] for tag in previewed}
    # It is not a part of what training schedules that is previewed, but all of it, with the same numbers.
    assert previewed == {tag: values for tag, values in trained.items() if tag.partition("/")[0] in fields}
    assert {tag for tag in trained if tag.startswith(("learning_rate/", "momentum/", "weight_decay/"))} <= set(
        previewed
    )


@pytest.mark.parametrize("arguments", [[], ["preview.iters_per_epoch=8"]], ids=["data read", "length given"])
def test_one_group_is_called_base(arguments, run_task):
    finished = run_task(plot_lr, "plot_lr", "preview.output_dir=curves", *SHORT, *arguments)
    assert finished.status == 0, finished.err
    with (finished.cwd / "curves" / "lr_curve.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["iter", "epoch", "lr_base", "momentum_base"]
    assert set(scalars(finished.cwd / "curves" / "tensorboard")) == {"learning_rate/base", "momentum/base"}


class Notes(Hook):
    """Note what the updates used, as columns of the preview's table."""

    def __init__(self, fields) -> None:
        self.fields = fields
        self.columns: dict[str, list[float]] = {}

    def after_train_iter(self, runner) -> None:
        for field in self.fields:
            for group in runner.optimizer.param_groups:
                self.columns.setdefault(f"{field}_{group['name']}", []).append(group[field])


@pytest.mark.parametrize(
    "overrides",
    [
        ["lr_schedule=cosine", "lr_schedule.warmup=exp", "lr_schedule.warmup_iters=10%", "runner.max_iters=13"],
        ["lr_schedule=one_cycle", "lr_schedule.max_lr=0.3", "runner.max_iters=11"],
        [*PARAMWISE, "weight_decay_schedule=linear", "momentum_schedule=one_cycle", "runner.max_iters=11"],
    ],
    ids=" ".join,
)
def test_training_uses_the_values_of_the_preview_bit_for_bit(overrides, runner, run_task):
    made = runner("data.batch_size=200", *overrides)
    made.register_hooks([notes := Notes(list(dict.fromkeys(["lr", "momentum", *made.schedules])))])
    made.run()
    assert made.clock.iter == made.clock.max_iters > made.clock.iters_per_epoch
    finished = run_task(plot_lr, "plot_lr", "preview.output_dir=curves", "data.batch_size=200", *overrides)
    with (finished.cwd / "curves" / "lr_curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    previewed = {name: [float(row[name]) for row in rows] for name in rows[0] if name not in ("iter", "epoch")}
    assert previewed == notes.columns


@pytest.mark.parametrize(
    "groups", thinned([[], LAYER_DECAY[1:], ["preview.base_lr=[0.1,0.2]"]]), ids=["one", "many", "given"]
)
@pytest.mark.parametrize("field", ["momentum", "alpha"])
def test_what_the_optimizer_lacks_is_refused_by_both(groups, field, run_task, train):
    schedule = [f"++{field}_schedule._target_=hookline.schedules.Linear", f"++{field}_schedule.min_{field}=0.1"]
    arguments = ["optimizer=adagrad", *schedule, *SHORT]
    for finished in (
        run_task(plot_lr, "plot_lr", "preview.output_dir=curves", *arguments, *groups),
        train(*arguments, *(given for given in groups if not given.startswith("preview."))),
    ):
        assert finished.status == 2
        assert finished.err.startswith(f"error: {field}_schedule: ")
        assert f"choose {field}_schedule=none" in finished.err
