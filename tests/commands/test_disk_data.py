"""Runs on data from disk, and what they leave of it in the run directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from tests.conftest import ROOT
from tests.images import write_folder, write_picture

from hookline.checkpoint import read

SHORT = ["runner.max_iters=2", "data.batch_size=8", "hooks.lr_curve=null", "logger=none"]

# A user's own source, which knows nothing of hookline's files.
OWN = '''
from pathlib import Path

import torch

from hookline.data import Source, decode


class Named(Source):
    """Images whose names begin with their class."""

    classes = ("cat", "dog")

    def __init__(self, *, split, folder):
        super().__init__(split=split)
        self.files = sorted((Path(folder) / split).glob("*.png"))

    def __len__(self):
        return len(self.files)

    @property
    def targets(self):
        return torch.tensor([self.classes.index(file.name.partition("-")[0]) for file in self.files])

    def read(self, index):
        return decode(self.files[index].read_bytes())
'''


@pytest.fixture
def flowers(tmp_path):
    return write_folder(tmp_path / "flowers", ("Löwenzahn", "rose"), count=10, size=(32, 32))


def test_the_classes_are_in_the_run_directory(train, flowers):
    finished = train("data=image_folder", f"data.root={flowers}", *SHORT)
    assert finished.status == 0, finished.err
    assert (finished.run_dir / "classes.txt").read_text(encoding="utf-8") == "Löwenzahn\nrose\n"


def test_a_resume_with_other_files_is_refused_and_changes_nothing(train, flowers):
    first = train("data=image_folder", f"data.root={flowers}", *SHORT)
    assert first.status == 0, first.err
    before = (first.run_dir / "classes.txt").read_bytes()
    for number in range(5):
        write_picture(flowers / "tulip" / f"{number}.jpg", number, size=(32, 32))
    refused = train(f"resume={first.run_dir}", "runner.max_iters=4")
    assert refused.status == 2, refused.err
    told = "the data set is another one: it had the 2 classes 'Löwenzahn', 'rose', and here it has the 3 classes"
    assert told in refused.err
    assert (first.run_dir / "classes.txt").read_bytes() == before
    assert read(first.run_dir / "checkpoints" / "last.pt")["parts"]["clock"]["iter"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_to_all_processes_ends_the_run_in_order(name, flowers, tmp_path):
    command = [
        *(sys.executable, str(ROOT / "src" / "train.py"), "data=image_folder", f"data.root={flowers}", *SHORT),
        *("runner.max_iters=50", "data.workers=2", "data.worker_type=process", "augment.size=32", "hydra.run.dir=run"),
        *("+hooks.arm._target_=tests.commands.killing.Arm", f"+augment.train.send.name={name}"),
        "+augment.train.send._target_=tests.commands.killing.SendToAll",
    ]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # What is read ends when every process that inherited the pipe has: none is left behind.
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + getattr(signal, name), out + err
    assert err == ""
    done = read(tmp_path / "run" / "checkpoints" / "last.pt")["parts"]["clock"]["iter"]
    assert 2 < done < 50
    assert f"interrupted ({name}) after iteration {done}" in out


@pytest.mark.parametrize("evaluation", ["default", "none"])
def test_a_source_of_one_s_own_from_outside(train, tmp_path, monkeypatch, evaluation):
    (tmp_path / "named.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    for split, count in (("train", 10), ("val", 4)):
        for number in range(count):
            name = f"{('cat', 'dog')[number % 2]}-{number}.png"
            write_picture(tmp_path / "pictures" / split / name, number, size=(32, 32))
    own = ["data._target_=named.Named", f"+data.folder={tmp_path}/pictures", "data.train_transforms.crop=null"]
    finished = train(*own, *SHORT, f"evaluation={evaluation}")
    assert finished.status == 0, finished.err
    assert (finished.run_dir / "classes.txt").read_text() == "cat\ndog\n"


def test_a_class_that_training_has_not_is_told_before_training(train, tmp_path):
    write_folder(tmp_path / "set" / "train", size=(32, 32))
    write_folder(tmp_path / "set" / "val", ("cat", "eel"), size=(32, 32))
    finished = train("data=image_folder", f"data.root={tmp_path}/set", *SHORT)
    assert finished.status == 2
    expected = f"error: data.root={tmp_path}/set: validation has classes that training has not: 'eel'"
    assert finished.err.startswith(expected)
    assert len(finished.err.splitlines()) == 1
