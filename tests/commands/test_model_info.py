"""scripts/model_info.py tells what models cost, and draws the accuracy of runs against it."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from hookline.commands.model_info import model_info

FAST = ["info.batch_sizes=[1,2]", "info.seconds=0.001", "runner.device=cpu"]
QUIET = "hooks.text=null"


@pytest.fixture
def info(run_task):
    """Return a function: the command's end, and the folder of its files."""

    def run(*arguments: str):
        finished = run_task(model_info, "model_info", *FAST, *arguments)
        return finished, next(iter(sorted(finished.cwd.glob("outputs/model_info/*/*"))), None)

    return run


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_stages_add_up_to_the_model_and_fit_a_terminal(info):
    finished, folder = info("model=test_resnet")
    assert (finished.status, finished.err) == (0, "")
    assert max(map(len, finished.out.split("measured on")[0].splitlines())) <= 80
    stages, models = rows(folder / "stages.csv"), rows(folder / "models.csv")
    assert [row["stage"] for row in stages] == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
    for key in ("parameters", "macs", "activations"):
        assert sum(int(row[key]) for row in stages) == int(models[0][key])
    assert [(row["batch_size"], row["height"]) for row in models] == [("1", "160"), ("2", "160")]
    for row in models:
        assert float(row["images_per_second"]) == pytest.approx(int(row["batch_size"]) / float(row["seconds"]))
    assert int(models[1]["memory"]) > int(models[0]["memory"]) > 4 * int(models[0]["parameters"])
    assert json.loads((folder / "model_info.json").read_text())["models"][0]["model"] == "test_resnet"
    assert not (folder / "accuracy.png").exists()


def test_several_models_are_in_one_table_options_and_timm_s_names(info):
    finished, folder = info("info.compare=[test_resnet,test_vit]", "info.batch_sizes=[]", "info.img_size=160")
    assert (finished.status, finished.err) == (0, "")
    assert [row["model"] for row in rows(folder / "models.csv")] == ["test_resnet", "test_vit"]
    assert "images/s" not in finished.out


def test_the_data_s_images_and_classes_on_request(info):
    finished, folder = info("info.from_data=true", "info.batch_sizes=[]")
    assert finished.status == 0, finished.err
    (row,) = rows(folder / "models.csv")
    assert (row["channels"], row["height"], row["width"]) == ("1", "32", "32")
    fc = next(row for row in rows(folder / "stages.csv") if row["stage"] == "fc")
    assert int(fc["parameters"]) == 96 * 10 + 10


def test_the_deployed_form_has_the_parameters_of_the_paper(info):
    finished, folder = info("model=repvgg_a0", "info.img_size=32", "info.batch_sizes=[]", "info.deployed=true")
    assert finished.status == 0, finished.err
    (row,) = rows(folder / "models.csv")
    assert int(row["parameters"]) / 1e6 == pytest.approx(8.30, abs=0.01)  # 9.1 while it is trained


def test_runs_are_drawn_with_their_accuracy(info, trained_run, tmp_path):
    for name, top1 in (("a", 40.0), ("b", 60.0)):
        shutil.copytree(trained_run(QUIET), tmp_path / "runs" / name)
        result = {"monitor": "val/top1", "best": {"val/top1": top1}, "final": {"val/top1": 7.0}}
        (tmp_path / "runs" / name / "result.json").write_text(json.dumps(result))
    finished, folder = info(f"run=[{tmp_path}/runs/a,{tmp_path}/runs/b]")
    assert (finished.status, finished.err) == (0, "")
    found = {row["model"]: float(row["top1"]) for row in rows(folder / "models.csv")}
    assert found == {"test_resnet a": 40.0, "test_resnet b": 60.0}
    assert "60.00" in finished.out
    picture = np.asarray(Image.open(folder / "accuracy.png").convert("L"))
    assert picture.min() < 100
    shutil.rmtree(folder)
    _, folder = info(f"run={tmp_path}/runs/a", "weights=last")
    assert {row["top1"] for row in rows(folder / "models.csv")} == {"7.0"}


WRONG = {
    "info.batch_sizes=8": "info.batch_sizes=8: must be a list of numbers",
    "info.batch_sizes=[0]": "info.batch_sizes=0: must be an integer > 0",
    "info.seconds=0": "info.seconds=0: must be a number > 0",
    "info.compare=resnet18": "info.compare=resnet18: must be a list of models",
    "info.compare=[resnet18,resnet18]": "info.compare=[resnet18, resnet18]: must be a list in which each model",
    "info.compare=[resnt18]": "info.compare=resnt18: is neither an option of model nor a model of timm. Did you mean",
    "info.compare=[test_vit] model=resnet18": "model=resnet18: must be left out with info.compare",
    "info.img_size=-1": "info.img_size=-1: must be an integer > 0",
    "model=vit_tiny info.img_size=8": "vit_tiny_patch16_224: cannot take an image of 3 × 8 × 8: ",
    "model=torchvision model.name=vit_b_16 info.img_size=64": "vit_b_16: cannot take an image of 3 × 64 × 64: Wrong",
    "model=timm model.model_name=resnot": "model.model_name=resnot: timm has no such model.",
    "model=resnet18 run=x": "model=resnet18: must be left out with run=, which says what the model is",
    "run=nowhere": "run=nowhere: there is no such run directory",
    "run=[]": "run=[]: must be a run directory, or a list of them",
    "run=x info.img_size=3": "info.img_size=3: must be left out with run=",
    "info.speed=3": "info.speed: there is no such key.",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_input_is_one_message(arguments, info):
    finished, _ = info(*arguments.split())
    assert finished.status == 2
    assert finished.err.startswith(f"error: {WRONG[arguments]}")
    assert finished.err.count("\n") == 1
