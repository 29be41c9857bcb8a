"""Data sets of Hugging Face, from a folder or by name, through the package `datasets`."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from hookline.config.errors import ConfigError, reason_of
from hookline.config.packages import need
from hookline.data.decode import DecodeError
from hookline.data.labels import number_labels
from hookline.data.listed import ListedSource, Listing
from hookline.data.splitting import HeldOut

VAL_SPLITS = ("validation", "val", "valid", "test")


class HuggingFace(ListedSource):
    """A data set with a column of images and one of labels; the images stay encoded until they are needed.

    Args:
        split: `train` or `val`.
        name: the data set's name on the Hub, or a folder: one that `save_to_disk` wrote, or of Parquet files or images.
        config: the data set's configuration, where it has several.
        revision: a commit, branch or tag of the data set on the Hub, so that a run can be repeated.
        train: the name of the training split.
        val: the name of the validation split; None: `validation`, `val`, `valid` or `test`, whichever comes first, else
            `val_fraction` of each class of the training split.
        image: the column of images; None: the only one.
        label: the column of labels; None: the only column of class labels, or `label`.
        val_fraction: the share of each class that validates, where there is no validation split.
        split_seed: chooses which images those are; the run's seed has no part in it.
        channels: 3 for colour, 1 for grey.
    """

    def __init__(
        self,
        *,
        split: str,
        name: str | None = None,
        config: str | None = None,
        revision: str | None = None,
        train: str = "train",
        val: str | None = None,
        image: str | None = None,
        label: str | None = None,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        channels: int = 3,
    ) -> None:
        super().__init__(split=split, channels=channels)
        self.name = name
        self.config = config
        self.revision = revision
        self.train = train
        self.val = val
        self.image = image
        self.label = label
        self.held_out = HeldOut(val_fraction, split_seed)

    def list_samples(self) -> Listing:
        """Return the samples of the split."""
        label = self._columns[1]
        words, known = [list(map(str, self._splits[name][label][:])) for name in (self._own_split, self.train)]
        names = getattr(self._table.features[label], "names", None)
        rows: list[int] | range = range(len(words))
        if self._val_split is None:
            rows = self.held_out.rows_of(self.split, list(map(str, rows)), words)
        classes, targets = number_labels(words, known, names)
        return Listing(classes, [f"{self._own_split}/{row}" for row in rows], targets[list(rows)])

    def name_of(self, index: int) -> str:
        """Return the data set's name, the split and the row."""
        return f"{self.name}: {self.listing.names[index]}"

    def read_bytes(self, index: int) -> bytes:
        """Return the sample's encoded image."""
        row = int(self.listing.names[index].rpartition("/")[2])
        image = self._table[row][self._columns[0]]
        if image is None:
            raise DecodeError("there is no image in this row")
        content: bytes | None = image["bytes"]
        return content if content is not None else Path(image["path"]).read_bytes()

    @cached_property
    def _val_split(self) -> str | None:
        """The split that validates, or None where a part of the other is held out."""
        return self.val or next((name for name in VAL_SPLITS if name in self._splits), None)

    @cached_property
    def _own_split(self) -> str:
        key, wanted = ("val", self._val_split) if self.split == "val" and self._val_split else ("train", self.train)
        if wanted not in self._splits:
            raise ConfigError(f"data.{key}={wanted}: {self.name} has the splits {', '.join(self._splits)}")
        return wanted

    @cached_property
    def _table(self) -> Any:
        table = self._splits[self._own_split]
        from datasets import Image

        # Undecoded, so that images are read as those of all other sources are, and outside the interpreter's lock.
        return table.cast_column(self._columns[0], Image(decode=False))

    @cached_property
    def _columns(self) -> tuple[str, str]:
        """The columns of images and of labels."""
        features = self._splits[self._own_split].features  # this says so where the package is not there
        from datasets import ClassLabel, Image

        images = [name for name, feature in features.items() if isinstance(feature, Image)]
        labels = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
        labels = labels or [name for name in features if name == "label"]
        chosen = []
        for key, given, found in (("image", self.image, images), ("label", self.label, labels)):
            if (given or "") not in features and (given is not None or len(found) != 1):
                shown = f"data.{key}={given}" if given else f"data.{key}"
                raise ConfigError(f"{shown}: must be a column of {self.name}; it has {', '.join(features)}")
            chosen.append(given or found[0])
        return chosen[0], chosen[1]

    @cached_property
    def _splits(self) -> Any:
        """The data set's splits by name."""
        if not self.name:
            raise ConfigError("data.name: is missing; give the name of a data set of Hugging Face, or its folder")
        need("data=hf", "hf", "datasets")
        from datasets import Dataset, DatasetDict, load_dataset, load_from_disk

        path = os.path.expanduser(self.name)
        saved = any(os.path.isfile(os.path.join(path, name)) for name in ("dataset_dict.json", "state.json"))
        try:
            found = load_from_disk(path) if saved else load_dataset(path, self.config, revision=self.revision)
        except Exception as error:  # of the network, of the Hub, of the files
            raise ConfigError(f"data.name={self.name}: cannot be loaded: {reason_of(error)}") from error
        return DatasetDict({self.train: found}) if isinstance(found, Dataset) else found
