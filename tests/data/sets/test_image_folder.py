"""Folders of images, as people have them."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import torch
from tests.images import write_folder, write_picture

from hookline.config.errors import ConfigError, ParameterError
from hookline.data import DecodeError, ImageFolder, decode


def both(root, **options) -> tuple[ImageFolder, ImageFolder]:
    train, val = (ImageFolder(split=split, root=str(root), **options) for split in ("train", "val"))
    return train, val


def names(source) -> list[str]:
    return [os.path.relpath(source.name_of(i), source.root) for i in range(len(source))]


@pytest.mark.parametrize("val", ["val", "valid", "test"])
def test_a_folder_for_each_split(tmp_path, val):
    write_folder(tmp_path / "train")
    write_folder(tmp_path / val, count=2, first=50)
    train, validation = both(tmp_path)
    assert train.classes == validation.classes == ("cat", "dog")
    assert train.targets.tolist() == [0] * 5 + [1] * 5
    assert names(validation) == [f"{val}/cat/0.jpg", f"{val}/cat/1.jpg", f"{val}/dog/0.jpg", f"{val}/dog/1.jpg"]
    path = tmp_path / "train" / "dog" / "1.jpg"
    assert torch.equal(train.read(6), decode(path.read_bytes()))
    assert train.name_of(6) == str(path)
    for source in (train, validation):
        source.check()


def test_a_part_of_each_class_is_held_out(tmp_path):
    write_folder(tmp_path, ("a", "b", "c"), count=10)
    write_picture(tmp_path / "d" / "only.png")
    train, val = both(tmp_path, val_fraction=0.3)
    assert Counter(val.targets.tolist()) == {0: 3, 1: 3, 2: 3}
    assert Counter(train.targets.tolist()) == {0: 7, 1: 7, 2: 7, 3: 1}
    assert not set(names(train)) & set(names(val))
    assert names(both(tmp_path, val_fraction=0.3)[1]) == names(val)
    assert names(both(tmp_path, val_fraction=0.3, split_seed=1)[1]) != names(val)
    before = set(names(val))
    write_picture(tmp_path / "a" / "new.jpg")
    assert len(before - set(names(both(tmp_path, val_fraction=0.3)[1]))) <= 1


def test_the_training_folder_is_split_where_it_is_alone(tmp_path):
    write_folder(tmp_path / "train")
    train, val = both(tmp_path)
    assert (len(train), len(val)) == (8, 2)


def test_nested_folders_unicode_and_every_format(tmp_path):
    for number, name in enumerate(["a.JPG", "b.jpeg", "c.png", "d.webp", "e.bmp", "f.tif", "g.gif", "deep/er/h.ppm"]):
        write_picture(tmp_path / "train" / "Café 猫" / name, number)
    write_picture(tmp_path / "train" / "hund" / "bild ü.jpg")
    for name in ("Café 猫/notes.txt", "Café 猫/.hidden.jpg", ".git/x.jpg", "__MACOSX/y.jpg"):
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("no image")
    # Some systems write an accented letter as two characters.
    write_picture(tmp_path / "val" / unicodedata.normalize("NFD", "Café 猫") / "x.png")
    train, val = both(tmp_path)
    assert train.classes == ("Café 猫", "hund")
    assert train.class_counts.tolist() == [8, 1]
    assert (len(val), val.targets.tolist()) == (1, [0])
    assert all(train.read(index).shape == (3, 16, 24) for index in range(9))
    for source in (train, val):
        source.check()


def test_a_link_that_leads_upwards_ends(tmp_path):
    write_folder(tmp_path / "train")
    (tmp_path / "train" / "cat" / "again").symlink_to(tmp_path / "train" / "cat", target_is_directory=True)
    assert len(both(tmp_path)[0]) + len(both(tmp_path)[1]) == 10


def test_grey(tmp_path):
    write_folder(tmp_path)
    assert both(tmp_path, channels=1)[0].read(0).shape == (1, 16, 24)
    with pytest.raises(ParameterError, match="channels=4: must be one of 1, 3"):
        both(tmp_path, channels=4)


def test_nothing_is_opened_when_it_is_made():
    assert ImageFolder(split="train", root="/no/where").channels == 3


def test_the_fingerprint_follows_the_files(tmp_path):
    write_folder(tmp_path / "train")
    write_folder(tmp_path / "val")
    seen = [both(tmp_path)[0].fingerprint()]
    assert both(tmp_path)[0].fingerprint() == seen[0]
    os.rename(tmp_path / "train" / "cat" / "1.jpg", tmp_path / "train" / "cat" / "renamed.jpg")
    seen.append(both(tmp_path)[0].fingerprint())
    os.rename(tmp_path / "train" / "cat" / "renamed.jpg", tmp_path / "train" / "dog" / "renamed.jpg")
    seen.append(both(tmp_path)[0].fingerprint())
    write_picture(tmp_path / "train" / "dog" / "new.jpg")
    seen.append(both(tmp_path)[0].fingerprint())
    (tmp_path / "train" / "dog" / "2.jpg").unlink()
    seen.append(both(tmp_path)[0].fingerprint())
    assert len(set(seen)) == len(seen)
    os.rename(tmp_path / "train", tmp_path / "moved")
    os.rename(tmp_path / "moved", tmp_path / "train")
    assert both(tmp_path)[0].fingerprint() == seen[-1]


def refused(root, split="train") -> str:
    with pytest.raises(ConfigError) as caught:
        ImageFolder(split=split, root=root).check()
    return str(caught.value)


def test_what_cannot_be_trained_on_is_told(tmp_path):
    assert "data.root: is missing" in refused(None)
    assert "there is no such folder" in refused(str(tmp_path / "nowhere"))
    file = write_picture(tmp_path / "x.jpg")
    assert "is not a folder" in refused(str(file))
    (tmp_path / "empty").mkdir()
    assert "has no folder; it must have a folder for each class" in refused(str(tmp_path / "empty"))
    write_folder(tmp_path / "one", ("images",))
    assert "has the folder images only; it must have a folder for each class" in refused(str(tmp_path / "one"))
    write_folder(tmp_path / "untrained" / "val")
    assert "has the folder val and no folder train" in refused(str(tmp_path / "untrained"))
    (tmp_path / "no_images" / "a").mkdir(parents=True)
    (tmp_path / "no_images" / "b").mkdir()
    assert "there are no images in the folders of" in refused(str(tmp_path / "no_images"))


def test_classes_that_do_not_fit_are_told(tmp_path):
    write_folder(tmp_path / "train")
    write_folder(tmp_path / "val", ("cat", "eel"))
    assert "validation has classes that training has not: 'eel'" in refused(str(tmp_path), "val")
    (tmp_path / "train" / "eel").mkdir()
    assert "1 of 3 classes have no training image: 'eel'" in refused(str(tmp_path))


def test_two_spellings_of_one_name_are_told(tmp_path):
    for form in ("NFC", "NFD"):
        write_picture(tmp_path / "train" / unicodedata.normalize(form, "Café") / "0.jpg")
    write_folder(tmp_path / "train")
    assert "has two folders of the name" in refused(str(tmp_path))


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    write_folder(tmp_path / "train")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)  # the superuser may read every folder
    assert f"the folder {tmp_path}/train/dog cannot be read: Permission denied" in refused(str(tmp_path))


@pytest.mark.parametrize("kind", ["pipe", "device", "nowhere", "itself"])
def test_what_is_called_like_an_image_and_is_no_file_is_told(tmp_path, kind):
    write_folder(tmp_path / "train")
    place = tmp_path / "train" / "cat" / "z.jpg"
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to({"device": "/dev/zero", "nowhere": "x.jpg", "itself": "z.jpg"}[kind])
    assert f"data.root: 1 of the images in {place.parent} are links that lead" in refused(str(tmp_path))
    assert refused(str(tmp_path)).endswith(": 'z.jpg'")


def test_a_file_that_became_a_pipe_is_not_waited_for(tmp_path):
    write_folder(tmp_path / "train")
    train, _ = both(tmp_path)
    place = Path(train.name_of(0))
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(DecodeError, match="not a regular file"):
        train.read(0)


def test_a_broken_image_is_told_when_it_is_read(tmp_path):
    write_folder(tmp_path / "train")
    write_folder(tmp_path / "val")
    path = tmp_path / "train" / "cat" / "0.jpg"
    path.write_bytes(path.read_bytes()[:-5])
    train, _ = both(tmp_path)
    with pytest.raises(DecodeError, match="truncated"):
        train.read(0)
