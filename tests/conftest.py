"""What many tests share: the command line in this process, small data sets in the formats of the real ones."""

from __future__ import annotations

import os

# Several threads that wait for one another on two cores slow the suite down several-fold. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gzip
import json
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra._internal.hydra import Hydra
from omegaconf import DictConfig, OmegaConf

from hookline.config import resolvers

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"

# Hydra composes a config twice, the first time to look for hydra.mode, which no test in this process sets.
Hydra.get_mode = lambda self, config_name, overrides: None


def thinned(cases: Iterable[Any], every: int = 3) -> list[Any]:
    """Return the cases of a long table: one of `every` runs with the fast tests, and the others with the slow ones."""
    found = []
    for number, case in enumerate(cases):
        if not isinstance(case, type(pytest.param())):
            case = pytest.param(*(case if isinstance(case, tuple) else (case,)))
        marks = [*case.marks, *[pytest.mark.slow] * bool(number % every)]
        found.append(pytest.param(*case.values, id=case.id, marks=marks))
    return found


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def forget_modules(tmp_path_factory):
    """Forget the modules that a test wrote and imported, and their places: the next test's may have the same names."""
    before, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    written = str(tmp_path_factory.getbasetemp())
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(written):
            del sys.modules[name]


@dataclass
class Finished:
    """What a command left."""

    status: int
    out: str
    err: str
    cwd: Path

    @property
    def run_dirs(self) -> list[Path]:
        """The run directories, oldest first; a sweep's by job number."""
        return sorted((p.parent for p in self.cwd.glob("outputs/**/train.log")), key=lambda p: (len(p.name), str(p)))

    @property
    def run_dir(self) -> Path:
        (only,) = self.run_dirs
        return only

    @property
    def result(self) -> dict:
        return json.loads((self.run_dir / "result.json").read_text())


def leave_undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs write a stand-in for lr_curve.png: drawing is a sixth of the time that a short one takes."""
    monkeypatch.setattr("hookline.hooks.lr_curve.draw_lr_curve", lambda path, **_: Path(path).write_text("a picture"))


@pytest.fixture
def run_task(tmp_path, monkeypatch, capfd):
    """Return a function that runs an app's task with these arguments, in this process and a folder of its own."""
    from hookline.commands.app import run_app

    monkeypatch.chdir(tmp_path)
    leave_undrawn(monkeypatch)

    def run(task, config_name: str, *arguments: str) -> Finished:
        monkeypatch.setattr(sys, "argv", [f"{config_name}.py", *arguments])
        status = 0
        try:
            run_app(task, config_name)
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        out, err = capfd.readouterr()
        return Finished(status, out, err, tmp_path)

    return run


@pytest.fixture
def train(run_task):
    """Return a function that runs `src/train.py` with these arguments."""
    from hookline.commands.train import train as task

    return lambda *arguments: run_task(task, "train", *arguments)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write a uint8 array as an IDX file, gzipped if the name ends in .gz."""
    content = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def idx_folder(tmp_path):
    """Return a function that writes a small Fashion-MNIST look-alike into a folder."""

    def write(folder: Path = tmp_path / "idx", suffix: str = "", train: int = 40, test: int = 20) -> Path:
        generator = np.random.default_rng(0)
        for name, count in (("train", train), ("t10k", test)):
            write_idx(folder / f"{name}-images-idx3-ubyte{suffix}", generator.integers(0, 256, (count, 28, 28)))
            write_idx(folder / f"{name}-labels-idx1-ubyte{suffix}", np.arange(count) % 10)
        return folder

    return write


def _compose(file: Path) -> DictConfig:
    # Hydra's compose, as far as these files use it: it takes 30 ms a file, and tests ask for hundreds.
    node = OmegaConf.load(file)
    assert isinstance(node, DictConfig)
    names = [name.removesuffix("@_here_") for name in node.pop("defaults", [])]
    bases = [file.parent / name if not name.startswith("/") else CONF / name[1:] for name in names]
    return _merged(*[_compose(base.with_suffix(".yaml")) for base in bases], node)


def _merged(*nodes: Any) -> DictConfig:
    merged = OmegaConf.merge(*nodes)
    assert isinstance(merged, DictConfig)
    return merged


@pytest.fixture
def option():
    """Return a function: the node of a group's option, with the given keys replaced."""
    resolvers.register()

    def load(group: str, name: str, **overrides: object) -> DictConfig:
        node = _compose(CONF / group / f"{name}.yaml")
        assert set(overrides) <= set(node), f"{group}/{name}.yaml lacks {set(overrides) - set(node)}"
        return _merged(node, overrides)

    return load


@pytest.fixture
def config():
    """Return a function: train.py's config with these overrides, without a command line."""
    from hydra import compose, initialize_config_dir

    resolvers.register()

    def make(*overrides: str, name: str = "train") -> DictConfig:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose(name, list(overrides))

    return make


# The loggers, hooks and checkpoints that write files.
QUIET = ["logger.tensorboard=null", "logger.csv=null", "checkpoint=none", "hooks.lr_curve=null", "hooks.text=null"]


@pytest.fixture
def runner(config, tmp_path):
    """Return a function: the runner of a short digits run with these overrides, with no hooks that write files."""
    from hookline.experiment import build_runner
    from hookline.job import Job

    def make(*overrides: str):
        return build_runner(config(*QUIET, "runner.max_iters=20", "runner.device=cpu", *overrides), Job(tmp_path))

    return make


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    """Return a function: the directory of a finished run on digits with these overrides, made once; never change it."""
    from hookline.experiment import build_runner, compose_config
    from hookline.job import Job

    made: dict[tuple[str, ...], Path] = {}

    def run(*overrides: str) -> Path:
        if overrides not in made:
            directory = tmp_path_factory.mktemp("trained")
            quiet = [override for override in QUIET if override != "checkpoint=none"]
            cfg = compose_config(*quiet, "hooks=ema", "runner.max_iters=12", "runner.device=cpu", *overrides)
            job = Job(directory)
            runner = build_runner(cfg, job)
            job.config = OmegaConf.to_yaml(cfg, resolve=True)
            job.write_classes(runner.train_loader.source.classes)
            runner.run()
            job.write_status("completed")
            job.write_result({"status": "completed", "final": dict(runner.history[-1]), "best": runner.best})
            made[overrides] = directory
        return made[overrides]

    return run
