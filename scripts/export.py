"""Export what a run has trained: to ONNX, torch.export, safetensors or timm.

    python scripts/export.py run=RUN_DIR [KEY=VALUE ...]

What was written is opened again, and has to give PyTorch's logits for the
run's validation images; the largest difference is printed.

Examples:
    python scripts/export.py run=RUN_DIR format=onnx normalize=true
    python scripts/export.py run=RUN_DIR format=timm weights=ema
    python scripts/export.py run=RUN_DIR format=torch_export batch_size=1
"""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.export:export", "export", __doc__)
