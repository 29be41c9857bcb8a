"""Data sets, and how their images become batches."""

from hookline.data.batch import Batch
from hookline.data.decode import DecodeError, decode
from hookline.data.encoded import EncodedSource
from hookline.data.files import FileSource
from hookline.data.in_memory import InMemoryLoader
from hookline.data.listed import ListedSource, Listing
from hookline.data.loader import Loader
from hookline.data.sample_loader import SampleLoader
from hookline.data.sets.arrays import Arrays
from hookline.data.sets.digits import Digits
from hookline.data.sets.fashion_mnist import FashionMNIST
from hookline.data.sets.hugging_face import HuggingFace
from hookline.data.sets.image_folder import ImageFolder
from hookline.data.sets.image_list import ImageList
from hookline.data.sets.imagenet import ImageNet
from hookline.data.sets.tar import Tar
from hookline.data.sets.torchvision_sets import torchvision_source
from hookline.data.source import InMemorySource, Source
from hookline.data.transforms import Normalize, RandomCrop, RandomHorizontalFlip, Resize
from hookline.data.transforms.sample import SampleTransform

__all__ = [
    "Arrays",
    "Batch",
    "DecodeError",
    "Digits",
    "EncodedSource",
    "FashionMNIST",
    "FileSource",
    "HuggingFace",
    "ImageFolder",
    "ImageList",
    "ImageNet",
    "InMemoryLoader",
    "InMemorySource",
    "ListedSource",
    "Listing",
    "Loader",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "Resize",
    "SampleLoader",
    "SampleTransform",
    "Source",
    "Tar",
    "decode",
    "torchvision_source",
]
