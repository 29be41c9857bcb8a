"""Tell what models cost: parameters, multiply-adds, activations, speed, memory.

    python scripts/model_info.py [GROUP=OPTION ...] [KEY=VALUE ...]

The options and keys are those of src/train.py, and the keys of `info`. Of run
directories, run=RUN_DIR or run=[A,B], accuracy is drawn against cost.

Examples:
    python scripts/model_info.py model=resnet50
    python scripts/model_info.py 'info.compare=[resnet18,vit_tiny,resnet10t]'
    python scripts/model_info.py model=repvgg_a0 info.deployed=true
"""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.model_info:model_info", "model_info", __doc__)
