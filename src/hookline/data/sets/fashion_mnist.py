"""Fashion-MNIST from its IDX files."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from hookline.config.checks import check_bool
from hookline.config.errors import ConfigError
from hookline.data.sets.idx import find_idx, read_idx
from hookline.data.source import InMemorySource

# Where Debian's package dataset-fashion-mnist puts the files.
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
PARTS = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
         "val": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}  # fmt: skip


class FashionMNIST(InMemorySource):
    """60,000 training and 10,000 test images, 28x28 grey, of ten kinds of clothing (Xiao et al., arXiv:1708.07747).

    Validation is the official test part.

    Args:
        split: `train` or `val`.
        root: a folder with the IDX files, plain or gzipped, or one that holds torchvision's `FashionMNIST/raw`. If not
            given: the folder of Debian's package `dataset-fashion-mnist` where it is installed, else `data`.
        download: fetch the files into `root` through torchvision where they are missing.
    """

    classes = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
    channels = 1
    image_size = (28, 28)

    def __init__(self, *, split: str, root: str | None = None, download: bool = False) -> None:
        super().__init__(split=split)
        check_bool("download", download)
        self.root = Path(root).expanduser() if root else DEBIAN if DEBIAN.is_dir() else Path("data")
        self.download = download

    def load(self) -> tuple[Tensor, Tensor]:
        """Return the images, uint8 `[N, 1, 28, 28]`, and the labels of the split."""
        folder = self._folder()
        if folder is None and self.download:
            self._fetch()
            folder = self._folder()
        if folder is None:
            raise ConfigError(f"data.root={self.root}: {self._missing()}")
        image_path, label_path = (find_idx(folder, name) for name in PARTS[self.split])
        assert image_path is not None
        assert label_path is not None
        return read_idx(image_path, 3).unsqueeze(1), read_idx(label_path, 1).long()

    def _fetch(self) -> None:
        from torchvision.datasets import FashionMNIST as Downloader

        try:
            Downloader(str(self.root), download=True)
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"data.download=true: the files could not be fetched into {self.root}: {error}"
            ) from error

    def _folder(self) -> Path | None:
        for folder in (self.root, self.root / "FashionMNIST" / "raw"):
            if all(find_idx(folder, name) for names in PARTS.values() for name in names):
                return folder
        return None

    def _missing(self) -> str:
        advice = (
            "Give the folder of the IDX files, or data.download=true to fetch them, or install Debian's package "
            "dataset-fashion-mnist"
        )
        if not self.root.exists():
            return f"there is no such folder. {advice}"
        if not self.root.is_dir():
            return f"is not a folder. {advice}"
        if not any(self.root.iterdir()):
            return f"the folder is empty. {advice}"
        missing = [name for names in PARTS.values() for name in names if not find_idx(self.root, name)]
        return f"has no {', '.join(missing)} (plain or .gz), nor has its FashionMNIST/raw. {advice}"
