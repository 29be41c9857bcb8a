"""The priority of a hook: its class's, or the config's."""

from __future__ import annotations

import pytest

from hookline.config.errors import ConfigError
from hookline.experiment.hooks import build_hook
from hookline.hooks import Hook


class Late(Hook):
    """A hook that gives its priority by name."""

    priority = "low"  # type: ignore[assignment]


class Odd(Hook):
    """A hook that gives a priority that is none."""

    priority = "soon"  # type: ignore[assignment]


def target(kind: type, **more: object) -> dict[str, object]:
    return {"_target_": f"{__name__}.{kind.__name__}", **more}


def test_a_class_may_name_its_priority_and_the_config_may_change_it():
    assert build_hook(target(Late), "hooks.mine", "mine").priority == 70
    assert build_hook(target(Late, priority="HIGH"), "hooks.mine", "mine").priority == 30
    assert build_hook(target(Odd, priority=5), "hooks.mine", "mine").priority == 5


def test_a_class_with_a_wrong_priority_is_named():
    with pytest.raises(ConfigError, match=r"^hooks\.mine\.priority=soon: must be 0 to 100, or one of HIGHEST, "):
        build_hook(target(Odd), "hooks.mine", "mine")
