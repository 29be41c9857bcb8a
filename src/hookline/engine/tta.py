"""Test-time augmentation: what a model says of several views of each image, averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor
from torch.nn.functional import interpolate

from hookline.config.checks import check_choice

KINDS = ("none", "flip", "five_crop")

# The side of a crop, as a share of the image's.
CROP = 7 / 8


class Averaged:
    """A forward pass that averages the probabilities of views: `log(mean over views of softmax(logits))`.

    Args:
        forward: images `[B, C, H, W]` to logits `[B, classes]`.
        kind: `none`: the image itself; `flip`: and its mirror image; `five_crop`: its four corners and its centre, each
            of 7/8 of the sides and resized to the image's own size.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], kind: str = "none") -> None:
        check_choice("tta", kind, KINDS)
        self.forward = forward
        self.kind = kind

    def __call__(self, images: Tensor) -> Tensor:
        if self.kind == "none":  # whose logits stay exactly what they are
            return self.forward(images)
        shares = [self.forward(view).double().softmax(dim=1) for view in self._views(images)]
        mean = sum(shares[1:], shares[0]) / len(shares)
        return mean.clamp_min(1e-300).log().float()

    def _views(self, images: Tensor) -> Iterator[Tensor]:
        if self.kind == "flip":
            yield images
            yield images.flip(-1)
            return
        height, width = images.shape[-2:]
        h, w = max(1, round(height * CROP)), max(1, round(width * CROP))
        places = [
            (0, 0),
            (0, width - w),
            (height - h, 0),
            (height - h, width - w),
            ((height - h) // 2, (width - w) // 2),
        ]
        for top, left in places:
            crop = images[..., top : top + h, left : left + w]
            yield interpolate(crop, size=(height, width), mode="bilinear", antialias=True)
