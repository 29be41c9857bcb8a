"""Config keys of earlier versions, and what is written in their place now."""

from __future__ import annotations

MOVED = {
    "hooks.optimizer.grad_clip": "update.grad_clip",
    "hooks.optimizer.micro_batches": "update.micro_batches",
    "hooks.optimizer.log_grad_norm": "update.log_grad_norm",
    "hooks.optimizer.detect_unused": "+hooks.unused._target_=hookline.hooks.unused_parameters.UnusedParametersHook",
    "hooks.optimizer": "update",
    "hooks.evaluation.rule": "evaluation.mode",
    "hooks.evaluation": "evaluation",
    "hooks.metrics_csv": "logger.csv",
    "hooks.tensorboard.interval": "logger.interval",
    "hooks.tensorboard": "logger.tensorboard",
    "hooks.checkpoint.last": "checkpoint.save_last",
    "hooks.checkpoint.best": "checkpoint.save_best",
    "hooks.checkpoint": "checkpoint",
}


def moved_override(override: str) -> str | None:
    """Return what to write instead of an override of an earlier version's key; None if it never was one."""
    key, equals, value = override.lstrip("+~").partition("=")
    deletes = override.startswith("~")
    for old in sorted(MOVED, key=len, reverse=True):
        if key == old or key.startswith(f"{old}."):
            new = MOVED[old] + key.removeprefix(old)
            group, _, last = new.rpartition(".")
            if (last == "priority" and group != "checkpoint") or new == "evaluation._target_":
                return f"nothing: {group} has no {last}"
            if "=" in new:  # a whole override, which adds a hook
                hook, _, _ = new.partition("._target_")
                return f"{hook}=null" if deletes or value in ("null", "false") else new
            if "." not in new and (deletes or value == "null"):
                # Every run updates its weights: that group alone has no option `none`.
                return f"{new}={'default' if new == 'update' else 'none'}"
            if deletes:
                # Hydra deletes no key whose value is null, as this one's is.
                return "evaluation.mode=null" if new == "evaluation.mode" else f"~{new}"
            return new + equals + value
    return None
