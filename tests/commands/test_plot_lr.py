"""scripts/plot_lr.py as a user runs it, and its numbers against those of a training."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands.test_names import Notes
from tests.conftest import ROOT, thinned
from tests.toy import toy_runner

from hookline.analysis.preview import compute
from hookline.commands.plot_lr import groups_of, measured_at, plot_lr
from hookline.experiment import build_model_without_memory, build_optimizer, build_source, build_workflow
from hookline.hooks.evaluation import EvaluationHook
from hookline.hooks.schedule import ScheduleHook
from hookline.optim.group_values import base_values
from hookline.schedules import Plateau

# Runs the script as `python scripts/plot_lr.py ARGUMENTS` does, then tells whether torch was imported.
RUN = """
import runpy, sys
sys.argv = ["scripts/plot_lr.py", *sys.argv[1:]]
runpy.run_path("scripts/plot_lr.py", run_name="__main__")
print("torch" in sys.modules)
"""


def plot(out: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, *overrides, "preview.iters_per_epoch=9", f"preview.output_dir={out}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def columns(path: Path) -> dict[str, list[float]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def test_writes_everything_and_imports_no_torch(tmp_path):
    done = plot(tmp_path, "lr_schedule=cyclic", "momentum_schedule=cyclic", "optimizer=adam", "runner.max_epochs=3",
                "preview.base_lr=[0.1,0.01]", "preview.text=true")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
    assert str(tmp_path) in done.stdout
    assert "┤" in done.stdout
    assert (tmp_path / "lr_curve.png").read_bytes()[:4] == b"\x89PNG"
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    got = columns(tmp_path / "lr_curve.csv")
    assert list(got) == ["iter", "epoch", "lr_0", "lr_1", "momentum_0", "momentum_1"]
    assert len(got["iter"]) == 27
    assert max(got["lr_0"]) == pytest.approx(1.0)
    assert got["momentum_0"][0] == pytest.approx(0.9)


def test_the_text_of_a_comparison_names_every_curve(tmp_path):
    done = plot(tmp_path, "preview.compare=[cosine,step,wsd]", "runner.max_epochs=4", "preview.text=true")
    named = [line.split() for line in done.stdout.splitlines()]
    assert [words for words in named if words[0] in ("a", "b", "c")] == [["a", "cosine"], ["b", "step"], ["c", "wsd"]]


def test_compare_keeps_what_the_command_line_says_of_all(tmp_path):
    done = plot(tmp_path, "preview.compare=[cosine,step,wsd]", "runner.max_epochs=4", "lr_schedule.warmup=constant",
                "lr_schedule.warmup_iters=1ep", "lr_schedule.min_lr=0.01", "lr_schedule.by_epoch=false",
                "lr_schedule.warmup_ratio=0.5")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
    assert (tmp_path / "lr_curve.png").exists()
    for name in ("cosine", "step", "wsd"):
        assert columns(tmp_path / name / "lr_curve.csv")["lr_base"][0] == pytest.approx(0.05)


def test_compare_with_a_key_that_only_some_have(run_task):
    compare = ["preview.compare=[step,exp,linear]", "lr_schedule.gamma=0.5", "lr_schedule.step=1"]
    given = ["preview.output_dir=curves", "preview.iters_per_epoch=9", "runner.max_epochs=3"]
    finished = run_task(plot_lr, "plot_lr", *compare, *given)
    assert finished.status == 0, finished.err
    last = {name: columns(finished.cwd / "curves" / name / "lr_curve.csv")["lr_base"][-1] for name in ("step", "exp")}
    assert last == pytest.approx({"step": 0.025, "exp": 0.025})


@pytest.mark.parametrize(
    ("overrides", "message"),
    thinned(
        [
            (["+optimizer.foo=1"], "optimizer.foo=1: torch.optim.SGD takes no argument 'foo'"),
            (["optimizer._target_=torch.optim.SDG"], "Did you mean 'SGD'?"),
            (["optimizer=custom"], "optimizer._target_=???"),
            (["optimizer=adam", "optimizer.betas=0.9"], "optimizer.betas=0.9: must be a list of 2 numbers"),
            (["optimizer.momentum=x"], "optimizer.momentum=x: must be a number"),
            (["+momentum_schedule.gamma=3"], "momentum_schedule.gamma=3: has no effect, as momentum_schedule is none"),
            (
                ["lr_schedule=plateau", "evaluation=none"],
                "lr_schedule.monitor=val/loss: must be train/loss in a run without",
            ),
            (["lr_schedule=plateau", "lr_schedule.monitor=val/x"], "does not say which way is better"),
        ]
    ),
)
def test_what_training_refuses_is_refused(overrides, message, run_task):
    finished = run_task(plot_lr, "plot_lr", "preview.iters_per_epoch=9", *overrides)
    assert finished.status == 2
    assert message in finished.err
    assert len(finished.err.splitlines()) == 1


def test_plateau_without_validation_may_follow_the_training_loss(run_task):
    follow = ["lr_schedule=plateau", "evaluation=none", "lr_schedule.monitor=train/loss"]
    finished = run_task(plot_lr, "plot_lr", "preview.iters_per_epoch=9", *follow)
    assert finished.status == 0, finished.err


NESTED = "lr_schedule.curves=[{_target_:hookline.schedules.Plateau},{_target_:hookline.schedules.Fixed}]"


@pytest.mark.parametrize(
    "evaluation",
    [
        ["evaluation.interval=2"],
        ["evaluation.start=0"],
        ["evaluation.interval=3", "evaluation.start=1"],
        ["evaluation.by_epoch=false", "evaluation.interval=5"],
        ["evaluation.by_epoch=false", "evaluation.interval=4", "evaluation.start=0"],
        ["evaluation.interval=3", "runner.workflow=[[train,2],[val,1]]"],
        ["evaluation.interval=3", "lr_schedule=chain", NESTED],
    ],
    ids=" ".join,
)
def test_the_plateau_of_the_preview_is_that_of_a_run_that_never_improves(evaluation, config):
    cfg = config("lr_schedule=plateau", *evaluation, name="plot_lr")
    notes = Notes(["lr"])
    hook = EvaluationHook(cfg.evaluation.interval, cfg.evaluation.start, cfg.evaluation.by_epoch)
    runner = toy_runner(ScheduleHook(), hook, notes, max_epochs=7, workflow=build_workflow(cfg))
    # No loss falls to a millionth of the first.
    runner.schedules = {"lr": Plateau(patience=0, factor=0.5, threshold=1 - 1e-6).for_run(runner.clock)}
    preview = compute(runner.schedules, runner.clock, {"lr": {"base": 0.1}}, measured_at(cfg, runner.clock))
    for group in runner.optimizer.param_groups:
        group.setdefault("name", "base")
    runner.run()
    assert notes.columns["lr_base"] == preview.lr["base"]
    assert len(set(preview.lr["base"])) > 1


def test_a_sweep_is_overlaid(tmp_path):
    done = plot(tmp_path, "--multirun", "lr_schedule=cosine,linear", "runner.max_epochs=2", "preview.text=false")
    assert done.returncode == 0, done.stderr
    assert sorted(p.parent.name for p in tmp_path.glob("*/lr_curve.csv")) == ["0", "1"]
    assert (tmp_path / "lr_curve.png").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    thinned(
        [
            (["lr_schedule.min_lr=-1"], "error: lr_schedule.min_lr=-1: must be a number >= 0"),
            (["preview.iters_per_epoch=0"], "error: preview.iters_per_epoch=0: must be an integer > 0"),
            (["preview.base_lr=[]"], "error: preview.base_lr=null: must be a number >= 0"),
            (
                ["preview.compare=[step,exp]", "lr_schedule.gama=0.5"],
                "error: lr_schedule.gama: none of the compared schedules has such a key. Did you mean 'gamma'?",
            ),
            (["runner.max_epochs=1000000000"], "error: runner.max_epochs=1000000000: must be less for a preview"),
            (["preview.compare=[cosin]"], "error: lr_schedule=cosin: there is no such option. Did you mean 'cosine'"),
        ]
    ),
)
def test_a_user_error_is_one_message_and_status_2(tmp_path, overrides, message):
    command = [sys.executable, "scripts/plot_lr.py", "preview.iters_per_epoch=9", f"preview.output_dir={tmp_path}"]
    done = subprocess.run([*command, *overrides], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_groups_have_their_names(tmp_path):
    done = plot(tmp_path, "param_groups=layer_decay", "param_groups.layer_decay=0.5", "model=resnet18")
    assert done.returncode == 0, done.stderr
    lr = {name: values[0] for name, values in columns(tmp_path / "lr_curve.csv").items() if name.startswith("lr_")}
    assert max(lr.values()) == 0.1
    assert len(set(lr.values())) > 3
    assert not any(name.removeprefix("lr_").isdigit() for name in lr)


@pytest.mark.slow
def test_scaled_learning_rate(tmp_path):
    done = plot(tmp_path, "data.batch_size=128", "auto_scale_lr.base_batch_size=32")
    assert done.returncode == 0, done.stderr
    assert columns(tmp_path / "lr_curve.csv")["lr_base"][0] == pytest.approx(0.4)


@pytest.mark.parametrize(
    "arguments",
    thinned(
        [
            ["preview.iters_per_epoch=9", "data._target_=tests.commands.sources.Closed", "param_groups=layer_decay"],
            [
                "preview.iters_per_epoch=9",
                "data=fashion_mnist",
                "data.root=/nowhere",
                "auto_scale_lr.base_batch_size=32",
            ],
            [
                "data._target_=tests.commands.sources.TrainingOnly",
                "model._target_=nowhere.Net",
                "loss._target_=nowhere.Loss",
            ],
            ["preview.iters_per_epoch=9", "hooks.text.interval=0", "evaluation.interval=0", "update.micro_batches=0"],
        ],
        2,
    ),
    ids=" ".join,
)
def test_it_builds_no_more_than_it_needs(arguments, run_task):
    finished = run_task(plot_lr, "plot_lr", "preview.output_dir=curves", "runner.max_epochs=2", *arguments)
    assert finished.status == 0, finished.err
    assert columns(finished.cwd / "curves" / "lr_curve.csv")


OPTIMIZERS = sorted(path.stem for path in (ROOT / "conf" / "optimizer").glob("*.yaml") if path.stem != "custom")


@pytest.mark.parametrize("name", thinned(OPTIMIZERS))
def test_the_config_alone_tells_what_the_optimizer_starts_from(name, config):
    cfg = config(f"optimizer={name}", name="plot_lr")
    optimizer = build_optimizer(cfg, build_model_without_memory(cfg, build_source(cfg, "train")))
    built = base_values(optimizer, ["lr", "momentum"])
    assert groups_of(cfg, []) == {field: groups for field, groups in built.items() if groups}
