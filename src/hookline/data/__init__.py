"""Data sets, and how their images become batches."""

from hookline.data.in_memory import InMemoryData, Split
from hookline.data.loader import TensorLoader
from hookline.data.sets.digits import Digits
from hookline.data.sets.fashion_mnist import FashionMNIST
from hookline.data.transforms.batched import Normalize, RandomCrop, RandomHorizontalFlip, Resize

__all__ = [
    "Digits",
    "FashionMNIST",
    "InMemoryData",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "Resize",
    "Split",
    "TensorLoader",
]
