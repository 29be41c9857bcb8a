"""Images and labels in one array file, NumPy's `.npz` or `.safetensors`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hookline.config.checks import check_choice
from hookline.config.errors import ConfigError, reason_of
from hookline.data.labels import number_labels, read_class_names
from hookline.data.source import InMemorySource
from hookline.data.splitting import HeldOut

# What arrays are called: those of one split in a file of both, and those of a file of one split.
IN_FILE = {
    "train": (("train_images", "train_labels"), ("x_train", "y_train")),
    "val": (("val_images", "val_labels"), ("test_images", "test_labels"), ("x_val", "y_val"), ("x_test", "y_test")),
}
ALONE = (("images", "labels"), ("x", "y"), ("data", "targets"), ("data", "labels"))


class Arrays(InMemorySource):
    """Images and labels of an `.npz` or a `.safetensors` file.

    The images are uint8 `[N, H, W, C]`, `[N, C, H, W]` or `[N, H, W]`. The arrays of a file for each split are called
    `images` and `labels`; in a file of both splits `train_images`, `train_labels`, `val_images`, `val_labels`, as in
    MedMNIST, or `x_train`, `y_train`, `x_test`, `y_test`, as in Keras.

    Args:
        split: `train` or `val`.
        train: the file of the training split, or of both.
        val: the file of the validation split; None: the other has both, or `val_fraction` of each class validates.
        class_names: a file of class names, one a line, or `name number`.
        layout: `NHWC`, `NCHW`, or `auto`, by where the 1 or 3 is.
        val_fraction: the share of each class that validates, where no file has a validation split.
        split_seed: chooses which images those are; the run's seed has no part in it.
    """

    def __init__(
        self,
        *,
        split: str,
        train: str | None = None,
        val: str | None = None,
        class_names: str | None = None,
        layout: str = "auto",
        val_fraction: float = 0.2,
        split_seed: int = 0,
    ) -> None:
        super().__init__(split=split)
        check_choice("layout", layout, ("auto", "NHWC", "NCHW"))
        self.train = train
        self.val = val
        self.class_names = class_names
        self.layout = layout
        self.held_out = HeldOut(val_fraction, split_seed)

    @property
    def channels(self) -> int:  # type: ignore[override]
        """Channels of an image."""
        return self.images.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:  # type: ignore[override]
        """Height and width of the images."""
        return self.images.shape[2], self.images.shape[3]

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names of the classes."""
        return self._all[0]

    def load(self) -> tuple[Tensor, Tensor]:
        """Return the images, uint8 `[N, C, H, W]`, and the labels of the split."""
        return self._all[1:]

    @cached_property
    def _all(self) -> tuple[tuple[str, ...], Tensor, Tensor]:
        names = None
        if self.class_names:
            names = read_class_names(Path(self.class_names).expanduser(), "data.class_names")
        images, labels = self._arrays(self.split)
        training = labels if self.split == "train" else self._arrays("train")[1]
        classes, targets = number_labels(labels, training, names)
        return classes, images, targets

    def _arrays(self, split: str) -> tuple[Tensor, list[str]]:
        """Return a split's images and labels."""
        key, file = ("val", self.val) if split == "val" and self.val else ("train", self.train)
        shown = f"data.{key}={file}"
        arrays = read_arrays(file, f"data.{key}")
        try:
            return self._parts(split, arrays, shown)
        except (ConfigError, MemoryError):
            raise
        except Exception as error:  # an .npz is read here: each kind of damage has its own error
            raise ConfigError(f"{shown}: cannot be read: {reason_of(error)}") from error

    def _parts(self, split: str, arrays: Mapping[str, np.ndarray], shown: str) -> tuple[Tensor, list[str]]:
        pair = next((pair for pair in (*IN_FILE[split], *ALONE) if arrays.keys() >= set(pair)), None)
        if pair is None:
            found = ", ".join(arrays) or "nothing"
            raise ConfigError(
                f"{shown}: must have images and labels, or {split}_images and {split}_labels; it has {found}"
            )
        pixels, labels = np.asarray(arrays[pair[0]]), np.asarray(arrays[pair[1]])
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if pixels.dtype != np.uint8 or labels.ndim != 1 or labels.dtype.kind not in "iuSU":
            raise ConfigError(
                f"{shown}: must have images of bytes (uint8) and a whole number or a name for each as its label; it has"
                f" {pair[0]} of {pixels.dtype} and {pair[1]} of {labels.dtype} {list(labels.shape)}"
            )
        words = [label.decode() if isinstance(label, bytes) else str(label) for label in labels.tolist()]
        images = self._channels_first(torch.as_tensor(pixels), f"{shown}: {pair[0]}")
        if pair in ALONE and not self.val:
            if len(images) != len(words):
                raise ConfigError(f"{shown}: has {len(images)} images but {len(words)} labels")
            kept = self.held_out.rows_of(split, list(map(str, range(len(words)))), words)
            images, words = images[kept], [words[i] for i in kept]
        return images, words

    def _channels_first(self, images: Tensor, shown: str) -> Tensor:
        shape = list(images.shape)
        if images.ndim == 3:
            return images.unsqueeze(1)
        fits = {"NHWC": images.ndim == 4 and shape[3] in (1, 3), "NCHW": images.ndim == 4 and shape[1] in (1, 3)}
        possible = [layout for layout, fitting in fits.items() if fitting and self.layout in ("auto", layout)]
        if not possible:
            raise ConfigError(
                f"{shown} has the shape {shape}; it must be [N, H, W], or of 1 or 3 channels, last or second"
            )
        if len(possible) > 1:
            raise ConfigError(f"{shown} has the shape {shape}; say where the channels are: data.layout=NHWC or NCHW")
        return images.permute(0, 3, 1, 2).contiguous() if possible == ["NHWC"] else images


def read_arrays(file: str | None, key: str) -> Mapping[str, np.ndarray]:
    """Return the arrays of a file by their names; those of an `.npz` are read when they are asked for.

    Raises:
        ConfigError: the file is missing, not of these formats, or damaged.
    """
    if not file:
        raise ConfigError(f"{key}: is missing; give an .npz or .safetensors file, {key}=FILE")
    path = Path(file).expanduser()
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
        if path.suffix == ".npz":
            loaded = np.load(path, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise ValueError("it is a single array, an .npy")
            return loaded
    except Exception as error:  # each format has its own errors
        raise ConfigError(f"{key}={file}: cannot be read: {reason_of(error)}") from error
    raise ConfigError(f"{key}={file}: must be an .npz or a .safetensors file")
