"""The config groups are found wherever the package lies: beside the sources, or inside a built wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.conftest import CONF, ROOT

from hookline.config.paths import conf

# Composes a config with what was installed, and says where its parts came from.
COMPOSE = """
import hookline
from hydra import compose, initialize_config_dir
from hookline.config import resolvers
from hookline.config.paths import conf
from hookline.experiment import build_clock
resolvers.register()
with initialize_config_dir(str(conf()), version_base="1.3"):
    cfg = compose("train", ["lr_schedule=wsd", "logger=csv", "runner.max_iters=7"])
print(hookline.__file__, conf(), build_clock(cfg, 3).max_epochs, sep="\\n")
"""


def options(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.yaml")}


def test_beside_the_sources():
    assert (conf() / "train.yaml").is_file()
    assert conf() == CONF


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Return a folder with what a wheel of this repository installs, and nothing else of it."""
    pytest.importorskip("setuptools", minversion="77")  # what pyproject.toml asks for
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("src", "conf"):
        ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(ROOT / name, folder / "repository" / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / "repository")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "./repository"]
    subprocess.run([*command, "--wheel-dir", "wheels"], cwd=folder, check=True)
    (wheel,) = (folder / "wheels").glob("hookline-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_a_wheel_holds_every_option(installed):
    assert options(installed / "hookline" / "conf") == options(CONF)


def test_an_installed_package_finds_its_own_options(installed):
    done = subprocess.run(
        [sys.executable, "-c", COMPOSE],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    package, options_folder, epochs = done.stdout.splitlines()
    assert Path(package).is_relative_to(installed)
    assert Path(options_folder) == (installed / "hookline" / "conf").resolve()
    assert epochs == "3"
