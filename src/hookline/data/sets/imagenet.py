"""ImageNet (ILSVRC 2012) as it lies on disk, with classes that a person can read."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch

from hookline.config.errors import ConfigError
from hookline.data.files import FileSource, existing_folder, folders_in, images_below
from hookline.data.labels import check_known, some
from hookline.data.listed import Listing

DEVKIT = "ILSVRC2012_devkit_t12"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


class ImageNet(FileSource):
    """ImageNet in its folders: `train/<synset>/`, and `val/` with such folders or with all images in itself.

    Validation images without folders get their labels from the first of these that is in the root: `val.txt`, lines of
    `file number` with the synsets numbered in alphabetical order, or `file synset`; `LOC_val_solution.csv` of the
    copy on Kaggle; the development kit's folder `ILSVRC2012_devkit_t12`. A part of the synsets, such as ImageNet-100,
    is read the same way.

    Args:
        split: `train` or `val`.
        root: the folder with `train` and `val`.
        channels: 3 for colour, 1 for grey.
    """

    def __init__(self, *, split: str, root: str | None = None, channels: int = 3) -> None:
        super().__init__(split=split, channels=channels)
        self.root = root

    @cached_property
    def folder(self) -> Path:
        """The root."""
        return existing_folder(self.root)

    def list_samples(self) -> Listing:
        """Return the samples of the split."""
        chosen = existing_folder(str(self.folder / self.split))
        synsets = folders_in(existing_folder(str(self.folder / "train")))
        own = folders_in(chosen)
        if self.split == "train" or own:
            check_known(own, synsets, f"data.root={self.root}")
            pairs = [(os.path.join(synset, path), synset) for synset in own for path in images_below(chosen / synset)]
        else:
            pairs = self._labelled(images_below(chosen), synsets)
        if not pairs:
            raise ConfigError(f"data.root={self.root}: there are no images in {chosen}")
        index = {synset: number for number, synset in enumerate(synsets)}
        targets = torch.tensor([index[synset] for _, synset in pairs], dtype=torch.int64)
        return Listing(readable(synsets), [os.path.join(self.split, path) for path, _ in pairs], targets)

    def _labelled(self, files: Sequence[str], synsets: Sequence[str]) -> list[tuple[str, str]]:
        """Return validation images with their synsets; those of synsets that training has not are left out."""
        truth = self._ground_truth(files, synsets)
        missing = [file for file in files if file not in truth]
        if missing:
            raise ConfigError(f"data.root={self.root}: validation images without a label: {some(missing, 3)}")
        known = set(synsets)
        return [(file, truth[file]) for file in files if truth[file] in known]

    def _ground_truth(self, files: Sequence[str], synsets: Sequence[str]) -> dict[str, str]:
        """Return the synset of each validation image, by the name of its file."""
        try:
            if (listed := self.folder / "val.txt").is_file():
                pairs = [line.rsplit(maxsplit=1) for line in listed.read_text().splitlines() if line.strip()]
                return {os.path.basename(path): synsets[int(to)] if to.isdecimal() else to for path, to in pairs}
            if (solution := self.folder / "LOC_val_solution.csv").is_file():
                with solution.open(newline="") as content:
                    rows = list(csv.DictReader(content))
                return {f"{row['ImageId']}.JPEG": row["PredictionString"].split()[0] for row in rows}
            if (devkit := self.folder / DEVKIT / "data").is_dir():
                numbers = (devkit / GROUND_TRUTH).read_text().split()
                by_number = devkit_synsets(devkit / "meta.mat")
                return {file: by_number[int(number)] for file, number in zip(files, numbers, strict=True)}
        except (OSError, ValueError, LookupError) as error:
            raise ConfigError(
                f"data.root={self.root}: the labels of the validation images cannot be read: {error!r}"
            ) from error
        raise ConfigError(
            f"data.root={self.root}: the images in val are in no folders, and there is no val.txt, no"
            f" LOC_val_solution.csv and no {DEVKIT} to label them"
        )


def devkit_synsets(meta: Path) -> dict[int, str]:
    """Return the synsets by the numbers that the development kit gives them, which follow no alphabet."""
    from scipy.io import loadmat

    rows = loadmat(str(meta), squeeze_me=True)["synsets"]
    return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows}


def readable(synsets: Sequence[str]) -> tuple[str, ...]:
    """Return names for synsets, from timm's tables; where two share a name, the synset follows."""
    from timm.data import ImageNetInfo

    lemmas = ImageNetInfo("imagenet-22k").label_descriptions(as_dict=True)
    assert isinstance(lemmas, dict)
    names = [lemmas.get(synset, synset) for synset in synsets]
    count = Counter(names)
    return tuple(
        name if count[name] == 1 else f"{name} ({synset})" for name, synset in zip(names, synsets, strict=True)
    )
