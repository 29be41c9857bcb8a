"""scripts/show_data.py draws what the model sees, what each transform does, classes and sizes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator
from tests.images import picture, write_folder, write_picture

from hookline.commands.show_data import show_data, sizes_of, transforms_of, views_by
from hookline.experiment import build_source

NOTHING = ["data.train_transforms.crop=null", "data.transforms.resize=null"]


@pytest.fixture
def show(run_task):
    """Return a function: the command's end, and its pictures by name."""

    def run(*arguments: str):
        finished = run_task(show_data, "show_data", "show.samples=3", "show.transforms=2", *arguments)
        return finished, {path.name: path for path in sorted(finished.cwd.glob("outputs/show_data/*/*/*.png"))}

    return run


def test_it_draws_what_there_is(show):
    finished, pictures = show("data=digits")
    assert (finished.status, finished.err) == (0, "")
    assert sorted(pictures) == ["classes.png", "samples.png", "transforms.png"]
    assert "every image is 8 pixels wide and 8 high" in finished.out
    for path in pictures.values():
        pixels = np.asarray(Image.open(path).convert("L"))
        assert pixels.min() < 100  # not an empty page
    assert not list(finished.cwd.glob("outputs/**/tensorboard"))


def test_mixed_samples_and_no_transforms_can_be_shown(show):
    finished, pictures = show("mix=both", *NOTHING)
    assert finished.status == 0, finished.err
    assert sorted(pictures) == ["classes.png", "samples.png"]


def test_more_samples_than_there_are(show, tmp_path):
    write_folder(tmp_path / "photos", {"cat": 2, "a dog with a very long name": 3}, size=(20, 20), name="{:03}.jpg")
    photos = ("data._target_=tests.images.Photos", f"+data.root={tmp_path}/photos", "data.batch_size=2")
    finished, pictures = show(*photos, "show.samples=50", "show.transforms=50")
    assert finished.status == 0, finished.err
    assert "samples.png" in pictures


def test_the_sheets_are_in_tensorboard_on_request(show):
    finished, pictures = show("show.tensorboard=true")
    (folder,) = finished.cwd.glob("outputs/**/tensorboard")
    events = EventAccumulator(str(folder), {IMAGES: 0}).Reload()
    assert sorted(events.Tags()["images"]) == ["data/classes", "data/samples", "data/transforms"]
    (event,) = events.Images("data/samples")
    assert event.encoded_image_string == pictures["samples.png"].read_bytes()
    assert (event.width, event.height) == Image.open(pictures["samples.png"]).size


def test_without_transforms_the_model_sees_the_image_itself(config):
    cfg = config(name="show_data")
    source = build_source(cfg, "train")
    views = views_by(cfg, source, [])
    assert len(views) == 6
    for view in views:
        assert np.allclose(view.image, source.read(view.index)[0] / 255, atol=1e-4)
        assert view.shares == {int(source.targets[view.index]): 1.0}


def test_a_transform_alone_draws_what_it_draws_in_the_run(config):
    flip = "+data.train_transforms.flip={_target_:hookline.data.RandomHorizontalFlip,p:0.5}"
    cfg = config(flip, "show.epoch=3", "show.transforms=40", name="show_data")
    source = build_source(cfg, "train")
    names = [f"data.{name}" for name in ("train_transforms.crop", "train_transforms.flip", "transforms.resize")]
    assert transforms_of(cfg) == names
    crop, flip, _ = names
    alone = views_by(cfg, source, [flip])
    flipped = [not np.allclose(view.image, source.read(view.index)[0] / 255, atol=1e-4) for view in alone]
    assert 5 < sum(flipped) < 35
    both, cropped = views_by(cfg, source, [crop, flip]), views_by(cfg, source, [crop])
    assert [view.index for view in both] == [view.index for view in alone]
    for its, own, mirrored in zip(both, cropped, flipped, strict=True):
        assert np.allclose(its.image, own.image[:, ::-1] if mirrored else own.image, atol=1e-4)


def test_sizes_are_measured_all_over_the_data(config, tmp_path):
    for number in range(30):
        (tmp_path / "photos" / "cat").mkdir(parents=True, exist_ok=True)
        picture(number, (30, 20 + number)).save(tmp_path / "photos" / "cat" / f"{number:02}.jpg")
    source = build_source(config("data._target_=tests.images.Photos", f"+data.root={tmp_path}/photos"), "train")
    assert sizes_of(source, 500) == [(20 + number, 30) for number in range(30)]
    assert sizes_of(source, 2) == [(20, 30), (49, 30)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("show.samples=0", "show.samples=0: must be an integer > 0"),
        ("show.epoch=0", "show.epoch=0: must be an integer > 0"),
        ("show.tensorboard=1", "show.tensorboard=1: must be true or false"),
        ("show=5", "show=5: must be a mapping"),
        ("+show.sample=3", "show.sample: there is no such key. Did you mean 'samples'?"),
        ("data=fashion_mnist data.root=nowhere", "data.root=nowhere: there is no such folder"),
    ],
)
def test_wrong_input_is_one_message(wrong, message, show):
    finished, _ = show(*wrong.split())
    assert finished.status == 2
    assert finished.err.startswith(f"error: {message}")
    assert finished.err.count("\n") == 1


def test_photographs_of_any_size(show, tmp_path):
    for number in range(6):
        write_picture(tmp_path / "photos" / "ab"[number % 2] / f"{number}.jpg", number, size=(30 + number, 40))
    finished, pictures = show("data=image_folder", f"data.root={tmp_path}/photos", "augment.size=32")
    assert finished.status == 0, finished.err
    assert {"samples.png", "transforms.png", "classes.png", "sizes.png"} <= pictures.keys()


def test_a_transform_that_is_switched_off_has_no_row(config):
    cfg = config("augment=imagenet", "data.train_transforms=null", "data.transforms=null", name="show_data")
    assert transforms_of(cfg) == ["augment.train.crop", "augment.train.flip"]
    cfg.augment.train.erasing.p = 0.5
    assert transforms_of(cfg) == ["augment.train.crop", "augment.train.flip", "augment.train.erasing"]
