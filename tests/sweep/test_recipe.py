"""A job's overrides as an option of the group `experiment` compose to the job's config."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf
from tests.conftest import CONF

from hookline.config.groups import group_names
from hookline.sweep.recipe import recipe_name, recipe_of


def test_a_recipe_composes_to_the_config_of_its_overrides(config, tmp_path, monkeypatch):
    given = [
        *("experiment=fashion_mnist", "optimizer=adamw", "optimizer.lr=0.01", "lr_schedule=step", "logger=[csv]"),
        *("lr_schedule.step=[50%,80%]", "+hooks.mine={_target_: my.Hook, x: 1}", "hooks.text=null", "seed=3"),
        *("runner.max_epochs=2", "hydra.job.name=x", "launcher.slots=2", "model.model_name='a b'"),
    ]
    folder = tmp_path / "local" / "conf" / "experiment"
    folder.mkdir(parents=True)
    recipe = recipe_of([*given, "+hooks.gone=1"], group_names([CONF]), ["+hooks.gone=1"], "Two\nlines.")
    (folder / "best.yaml").write_text(recipe)
    monkeypatch.chdir(tmp_path)
    assert recipe.startswith("# @package _global_\n# Two\n# lines.\n")
    wanted = [one for one in given if not one.startswith(("hydra", "launcher"))]
    assert OmegaConf.to_container(config("experiment=best")) == OmegaConf.to_container(config(*wanted))


@pytest.mark.parametrize("sweep", ["lr,warmup=exp", "ä/b c", "x" * 100])
def test_its_name_can_be_chosen_on_a_command_line(sweep, config, tmp_path, monkeypatch):
    name = recipe_name(sweep)
    assert len(name) < 60
    folder = tmp_path / "local" / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / f"{name}.yaml").write_text("# @package _global_\nseed: 7\n")
    monkeypatch.chdir(tmp_path)
    assert config(f"experiment={name}").seed == 7


def test_long_names_that_differ_at_their_end_stay_apart():
    assert recipe_name("x" * 99 + "a") != recipe_name("x" * 99 + "b")
