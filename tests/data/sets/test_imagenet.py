"""ImageNet's folders, with each of the ways in which its validation labels are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from tests.images import write_folder, write_picture

from hookline.config.errors import ConfigError
from hookline.data import ImageNet

# Tench, crane (the bird), crane (the machine).
SYNSETS = ("n01440764", "n02012849", "n03126707")
# The synset of each validation image.
TRUTH = [2, 0, 1, 0]


@pytest.fixture
def root(tmp_path):
    write_folder(tmp_path / "train", SYNSETS, count=2)
    for number in range(4):
        write_picture(
            tmp_path / "val" / f"ILSVRC2012_val_{number + 1:08d}.JPEG",
            number,
        )
    return tmp_path


def source(root: Path, split: str) -> ImageNet:
    made = ImageNet(split=split, root=str(root))
    made.check()
    return made


def test_folders_and_readable_names(tmp_path):
    write_folder(tmp_path / "train", SYNSETS, count=2)
    write_folder(tmp_path / "val", SYNSETS, count=1)
    train, val = source(tmp_path, "train"), source(tmp_path, "val")
    assert train.classes == ("tench, Tinca tinca", "crane (n02012849)", "crane (n03126707)")
    assert (train.targets.tolist(), val.targets.tolist()) == ([0, 0, 1, 1, 2, 2], [0, 1, 2])
    assert val.read(2).shape == (3, 16, 24)
    assert val.name_of(2) == str(tmp_path / "val" / SYNSETS[2] / "0.jpg")


def val_txt(root: Path) -> None:
    (root / "val.txt").write_text("".join(f"ILSVRC2012_val_{i + 1:08d}.JPEG {t}\n" for i, t in enumerate(TRUTH)))


def val_txt_of_synsets(root: Path) -> None:
    (root / "val.txt").write_text(
        "".join(f"ILSVRC2012_val_{i + 1:08d}.JPEG {SYNSETS[t]}\n" for i, t in enumerate(TRUTH))
    )


def kaggle(root: Path) -> None:
    rows = [f"ILSVRC2012_val_{i + 1:08d},{SYNSETS[t]} 1 2 30 40 {SYNSETS[t]} 5 6 7 8 \n" for i, t in enumerate(TRUTH)]
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(rows[::-1]))


def devkit(root: Path) -> None:
    data = root / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    # The kit's own numbers follow no alphabet.
    numbers = [2, 3, 1]
    rows = np.array(list(zip(numbers, SYNSETS, strict=True)), dtype=[("ILSVRC2012_ID", object), ("WNID", object)])
    savemat(data / "meta.mat", {"synsets": rows})
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{numbers[t]}\n" for t in TRUTH))


@pytest.mark.parametrize("labels", [val_txt, val_txt_of_synsets, kaggle, devkit])
def test_flat_validation_images(root, labels):
    labels(root)
    val = source(root, "val")
    assert val.targets.tolist() == TRUTH
    assert val.name_of(1).endswith("ILSVRC2012_val_00000002.JPEG")


def test_validation_images_without_labels_are_told(root):
    with pytest.raises(ConfigError, match=r"no val\.txt, no LOC_val_solution\.csv and no ILSVRC2012_devkit_t12"):
        source(root, "val")
    (root / "val.txt").write_text("ILSVRC2012_val_00000001.JPEG 0\n")
    with pytest.raises(ConfigError, match="validation images without a label: 'ILSVRC2012_val_00000002"):
        source(root, "val")
    (root / "val.txt").write_text("ILSVRC2012_val_00000001.JPEG 7\n")
    with pytest.raises(ConfigError, match="the labels of the validation images cannot be read"):
        source(root, "val")


def test_a_root_without_train_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"train: there is no such folder"):
        source(tmp_path, "train")
