"""src/evaluate.py: the files and numbers of an evaluation, and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score
from tests.conftest import thinned
from tests.images import write_folder

from hookline.commands.evaluate import evaluate
from hookline.data import Digits

FILES = [
    *("calibration.csv", "calibration.png", "confusion.csv", "confusion.png", "metrics.json", "mistakes.png"),
    *("per_class.csv", "pr.csv", "pr.png", "predictions.csv", "roc.csv", "roc.png"),
]


@pytest.fixture
def measure(run_task):
    """Return a function: the command's end with these arguments, and few resamples."""
    return lambda *arguments: run_task(evaluate, "evaluate", "resamples=20", *arguments)


@pytest.fixture
def copied(trained_run, tmp_path):
    """Return a copy of a run's directory."""
    return shutil.copytree(trained_run(), tmp_path / "copied")


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_all_files_and_the_numbers_of_training(measure, copied):
    finished = measure(f"run={copied}")
    assert (finished.status, finished.err) == (0, "")
    assert max(map(len, finished.out.splitlines()[1:-1])) <= 80
    assert "the same" in finished.out
    folder = copied / "evaluation"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    result = json.loads((copied / "result.json").read_text())
    found = metrics_of(folder)
    assert found["metrics"]["top1"]["value"] == result["best"]["val/top1"] == found["training"]["top1"]
    assert found["metrics"]["loss"]["value"] == result["best"]["val/loss"]
    for name, entry in found["metrics"].items():
        low, high = entry["interval"]
        assert low <= high, name
    for name in FILES:
        if name.endswith(".png"):
            assert np.asarray(Image.open(folder / name).convert("L")).std() > 5  # not an empty page


def test_the_tables_agree_with_the_numbers(measure, copied):
    measure(f"run={copied}", "weights=last")
    folder = copied / "evaluation"
    numbers = {name: entry["value"] for name, entry in metrics_of(folder)["metrics"].items()}
    predictions, classes = rows_of(folder / "predictions.csv"), rows_of(folder / "per_class.csv")
    labels, said = [row["label"] for row in predictions], [row["prediction"] for row in predictions]
    source = Digits(split="val")
    assert labels == [source.classes[label] for label in source.targets.tolist()]
    right = sum(a == b for a, b in zip(labels, said, strict=True))
    assert 100 * right / len(labels) == numbers["top1"]
    assert [row["class1"] for row in predictions] == said
    assert 100 * f1_score(labels, said, average="macro") == pytest.approx(numbers["f1"])
    assert [int(row["support"]) for row in classes] == source.class_counts.tolist()
    assert np.mean([float(row["average_precision"]) for row in classes]) == pytest.approx(numbers["map"], rel=1e-4)
    confusion = rows_of(folder / "confusion.csv")
    assert sum(int(row[name]) for row, name in zip(confusion, source.classes, strict=True)) == right
    bins = [row for row in rows_of(folder / "calibration.csv") if int(row["samples"])]
    gaps = [int(row["samples"]) * abs(float(row["accuracy"]) - float(row["confidence"])) for row in bins]
    assert sum(gaps) / len(labels) == pytest.approx(numbers["ece"], rel=1e-3)


def test_the_average_has_its_own_numbers(measure, copied):
    finished = measure(f"checkpoint={copied / 'checkpoints' / 'last.pt'}", "weights=ema", "output_dir=out")
    assert finished.status == 0
    final = json.loads((copied / "result.json").read_text())["final"]
    assert metrics_of(finished.cwd / "out")["metrics"]["top1"]["value"] == final["val_ema/top1"]
    assert "training measured top-1" in finished.out
    assert not (copied / "evaluation").exists()


def test_two_runs_are_compared_on_the_same_samples(measure, trained_run):
    a, b = trained_run(), trained_run("evaluation.monitor=val_ema/top1")
    finished = measure(f"run=[{a},{b}]", "output_dir=out")
    assert finished.status == 0
    found = json.loads((finished.cwd / "out" / "comparison.json").read_text())
    one, two = [metrics_of(finished.cwd / "out" / part)["metrics"]["top1"]["value"] for part in "12"]
    assert found["difference"] == two - one
    test = found["mcnemar"]
    assert 100 * (test["only_second"] - test["only_first"]) / 360 == pytest.approx(found["difference"])
    assert sum(test[key] for key in ("only_first", "only_second", "both", "neither")) == 360
    assert 0 <= test["p"] <= 1
    assert found["interval"][0] <= found["difference"] <= found["interval"][1]
    assert "McNemar's exact test" in finished.out


@pytest.mark.parametrize("kind", thinned(["flip", "five_crop"]))
def test_test_time_augmentation_changes_the_numbers(kind, measure, copied):
    plain, augmented = measure(f"run={copied}", "output_dir=a"), measure(f"run={copied}", "output_dir=b", f"tta={kind}")
    losses = [metrics_of(plain.cwd / name)["metrics"]["loss"]["value"] for name in "ab"]
    assert losses[0] != losses[1]
    assert f"averaged over {kind}" in augmented.out
    assert "training measured" not in augmented.out


def test_the_training_images_can_be_measured(measure, copied):
    assert "1,437 training images" in measure(f"run={copied}", "split=train").out


def test_another_data_set_with_the_same_classes(measure, copied, tmp_path):
    photos = write_folder(tmp_path / "photos", "0123456789", 2)
    chosen = [
        "data=image_folder",
        f"data.root={photos}",
        "data.channels=1",
        "data.val_fraction=0.5",
        "augment=imagenet",
    ]
    finished = measure(f"run={copied}", *chosen, "augment.size=32")
    assert (finished.status, finished.err) == (0, "")
    assert "10 validation images" in finished.out
    rows = rows_of(copied / "evaluation" / "predictions.csv")
    assert all(str(photos) in row["sample"] for row in rows)
    assert metrics_of(copied / "evaluation")["overrides"][0].startswith("data=image_folder")


def test_metrics_during_training_come_from_the_same_code(measure, trained_run):
    run = trained_run("evaluation=full")
    found = metrics_of(measure(f"run={run}", "weights=last", "output_dir=out").cwd / "out")
    for name in ("f1", "map", "ece", "top1", "top5", "loss"):
        assert found["training"][name] == found["metrics"][name]["value"], name


def test_a_run_that_could_write_elsewhere_does_not(measure, copied, tmp_path):
    finished = measure(f"run={copied}", "data.cache=none")
    assert finished.status == 0
    assert {path.name for path in tmp_path.iterdir()} == {"copied"}


@pytest.mark.parametrize("name", thinned(["evaluation/deep/x.csv", "evaluation"]))
def test_files_are_not_written_through_a_link_that_leads_out_of_the_run(name, measure, copied, tmp_path):
    (tmp_path / "other").mkdir()
    (copied / name).parent.mkdir(parents=True, exist_ok=True)
    (copied / name).symlink_to(tmp_path / "other")
    (copied / "elsewhere").symlink_to(tmp_path / "other")  # in which nothing is written
    finished = measure(f"run={copied}")
    assert finished.status == 2
    assert f"{copied / name} is a link that leads out of the run" in finished.err
    assert list((tmp_path / "other").iterdir()) == []
    assert measure(f"run={copied}", "trust=true").status == 0
    assert measure(f"run={copied}", "output_dir=mine").status == 0


WRONG = [
    ([], "run: is missing; give a run directory or one of its checkpoints, run=RUN_DIR"),
    (["run=nowhere"], "run=nowhere: there is no such run directory or checkpoint"),
    (["run=RUN", "checkpoint=x"], "checkpoint=x: excludes run"),
    (["run=[RUN]"], "run=[RUN]: must be one run directory, or a list of two"),
    (["run=RUN", "tta=ten_crop"], "tta=ten_crop: must be one of none, flip, five_crop"),
    (["run=RUN", "weights=first"], "weights=first: must be one of best, last, ema"),
    (["run=RUN", "split=test"], "split=test: must be one of train, val"),
    (["run=RUN", "resamples=1"], "resamples=1: must be an integer >= 10"),
    (["run=RUN", "output_dir=[1]"], "output_dir=[1]: must be the path of a folder"),
    (["run=RUN", "output_dir=/proc/x"], "output_dir=/proc/x: /proc/x: no folder can be made there"),
    (["run=RUN", "wieghts=last"], "wieghts: there is no such key. Did you mean 'weights'?"),
    (["run=RUN", "data.rot=x"], "data.rot=x: the run has no such key."),
    (["run=RUN", "data=nothing"], "data=nothing: there is no such option."),
    (["run=RUN", "word"], "word: is not of the form KEY=VALUE"),
    (["run=RUN", "augment=imagenet", "augment.sizes=3"], "augment.sizes=3: the run has no such key."),
    (["run=RUN", "device=tpu"], "device=tpu: must be one of"),
    (["run=RUN", "trust=maybe"], "trust=maybe: must be true, false, or a list of modules"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[said[:40] for _, said in WRONG])
def test_wrong_input_is_one_message(arguments, said, measure, trained_run):
    run = str(trained_run())
    finished = measure(*[argument.replace("RUN", run) for argument in arguments])
    assert finished.status == 2
    assert finished.err.startswith("error: " + said.replace("RUN]", f"{run}]"))
    assert finished.err.count("\n") == 1


def test_other_classes_are_refused(measure, copied, tmp_path):
    for names, told in ((("a", "b"), "2 and not 10"), ("0123456798"[::-1], "(the same in another order)")):
        (tmp_path / "names.txt").write_text("\n".join(names))
        labels = np.arange(20) % len(names)
        np.savez(tmp_path / "x.npz", images=np.zeros((20, 8, 8), np.uint8), labels=labels)
        chosen = ["data=arrays", f"data.train={tmp_path}/x.npz", f"data.class_names={tmp_path}/names.txt"]
        finished = measure(f"run={copied}", *chosen)
        assert finished.status == 2
        assert finished.err.startswith("error: data: has other classes than the run")
        assert told in finished.err
