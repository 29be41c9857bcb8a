"""What is done to images."""

from hookline.data.transforms.batched import Normalize, RandomCrop, RandomHorizontalFlip, Resize, Transform

__all__ = ["Normalize", "RandomCrop", "RandomHorizontalFlip", "Resize", "Transform"]
