"""Data sets, and how their images become batches."""

from hookline.data.batch import Batch
from hookline.data.in_memory import InMemoryLoader
from hookline.data.loader import Loader
from hookline.data.sets.digits import Digits
from hookline.data.sets.fashion_mnist import FashionMNIST
from hookline.data.source import InMemorySource, Source
from hookline.data.transforms import Normalize, RandomCrop, RandomHorizontalFlip, Resize

__all__ = [
    "Batch",
    "Digits",
    "FashionMNIST",
    "InMemoryLoader",
    "InMemorySource",
    "Loader",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "Resize",
    "Source",
]
