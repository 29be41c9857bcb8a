"""Show the parameter groups that a run would have: `python scripts/show_param_groups.py <as for train.py>`."""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.show_param_groups:show_param_groups", "show_param_groups")
