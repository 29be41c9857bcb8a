"""Class activation maps: where in an image a model looks for a class, by the library grad-cam."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hookline.analysis.layers import as_map, prefix_tokens_of
from hookline.config.packages import need

# The classes of grad-cam by the names that users give. Those that need layers of a certain kind are not among them.
METHODS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "layercam": "LayerCAM",
    "hirescam": "HiResCAM",
    "xgradcam": "XGradCAM",
    "gradcam_elementwise": "GradCAMElementWise",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "kpcacam": "KPCA_CAM",
    "fem": "FEM",
    "scorecam": "ScoreCAM",
}


def grad_cam_library() -> Any:
    """Return the package `pytorch_grad_cam`.

    Raises:
        ConfigError: it is not installed.
    """
    need("scripts/cam.py", "cam", "pytorch_grad_cam")
    return import_module("pytorch_grad_cam")


def activation_maps(
    model: nn.Module,
    images: Tensor,
    targets: Sequence[int],
    *,
    method: str,
    layers: Sequence[str],
    smooth: bool = False,
) -> np.ndarray:
    """Return a map for each image: float32 `[B, H, W]` of the images' size, with values in [0, 1].

    Negative parts are cut off; then the smallest value of an image becomes 0 and its largest 1. Several layers' maps
    are averaged.

    Args:
        model: in eval mode.
        images: `[B, C, H, W]` as the model gets them, on its device.
        targets: for each image the class to explain. `eigencam`, `kpcacam` and `fem` know no classes.
        method: one of `METHODS`.
        layers: names of layers that give maps (see `hookline.analysis.layers`).
        smooth: keep only the first principal component, which is less noisy.
    """
    library = grad_cam_library()
    size, prefix = (images.shape[-2], images.shape[-1]), prefix_tokens_of(model)
    wanted: list[Callable[[Tensor], Tensor]] = [
        library.utils.model_targets.ClassifierOutputTarget(target) for target in targets
    ]
    # A copy, as `as_map` returns it: what the model does to the output in place must not reach what is explained. The
    # images need a gradient so that frozen layers pass one on. What the library prints is not for the screen.
    with (
        torch.enable_grad(),
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
        getattr(library, METHODS[method])(
            model=model,
            target_layers=[model.get_submodule(name) for name in layers],
            reshape_transform=lambda output: as_map(output, size, prefix),
        ) as cam,
    ):
        maps: np.ndarray = cam(images.detach().requires_grad_(), targets=wanted, eigen_smooth=smooth)
    model.zero_grad(set_to_none=True)
    return np.nan_to_num(maps).astype(np.float32)


def overlay(picture: np.ndarray, activation: np.ndarray, weight: float = 0.5) -> np.ndarray:
    """Return a picture under its map in colours, uint8 `[H, W, 3]`: blue for 0, over green, to red for 1.

    Args:
        picture: `[H, W]` or `[H, W, 3]`, with values in [0, 1].
        activation: `[H, W]`, with values in [0, 1].
        weight: share of the picture.
    """
    grad_cam_library()
    show: Callable[..., np.ndarray] = import_module("pytorch_grad_cam.utils.image").show_cam_on_image
    colours = np.repeat(picture[:, :, None], 3, axis=2) if picture.ndim == 2 else picture
    return show(np.ascontiguousarray(colours, np.float32), activation, use_rgb=True, image_weight=weight)
