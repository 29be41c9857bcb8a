"""hookline: image-classification experiments from small configs, run by hooks.

`hookline.load(RUN_DIR)` opens what a run has trained; see `hookline.experiment.trained.load`. It is imported when it is
asked for, so that `import hookline` costs nothing.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return import_module(f"{__name__}.experiment.trained").load
