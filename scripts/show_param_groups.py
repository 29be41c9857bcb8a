"""Show the parameter groups that a run would have.

    python scripts/show_param_groups.py [GROUP=OPTION ...] [KEY=VALUE ...]

The options and keys are those of src/train.py.

Examples:
    python scripts/show_param_groups.py param_groups=layer_decay
    python scripts/show_param_groups.py model=resnet18 freeze=backbone
    python scripts/show_param_groups.py model=vit_tiny
"""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.show_param_groups:show_param_groups", "show_param_groups", __doc__)
