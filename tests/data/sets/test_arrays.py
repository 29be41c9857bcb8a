"""Array files: NumPy's and safetensors, of one split or of both, in any layout."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from hookline.config.errors import ConfigError
from hookline.data import Arrays

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 9, 7), dtype=np.uint8)
LABELS = np.arange(20) % 4


def both(**options) -> tuple[Arrays, Arrays]:
    train, val = (Arrays(split=split, **options) for split in ("train", "val"))
    train.check()
    val.check()
    return train, val


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_file_for_each_split(tmp_path, suffix, layout):
    images = IMAGES if layout == "NCHW" else np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1))
    paths = [str(tmp_path / f"{split}.{suffix}") for split in ("train", "val")]
    for path, part in zip(paths, (slice(0, 16), slice(16, 20)), strict=True):
        arrays = {"images": np.ascontiguousarray(images[part]), "labels": np.ascontiguousarray(LABELS[part])}
        save_file(arrays, path) if suffix == "safetensors" else np.savez(path, **arrays)
    train, val = both(train=paths[0], val=paths[1])
    assert torch.equal(train.images, torch.from_numpy(IMAGES[:16]))
    assert torch.equal(val.targets, torch.from_numpy(LABELS[16:]))
    assert (val.classes, val.channels, val.image_size) == (("0", "1", "2", "3"), 3, (9, 7))


def test_files_of_medmnist_and_keras(tmp_path):
    grey = IMAGES[:, 0]
    np.savez(
        tmp_path / "med.npz",
        **{"train_images": grey[:10], "train_labels": LABELS[:10, None]},
        **{"val_images": grey[10:15], "val_labels": LABELS[10:15, None]},
        **{"test_images": grey[15:], "test_labels": LABELS[15:, None]},
    )
    train, val = both(train=str(tmp_path / "med.npz"))
    assert (train.images.shape, train.channels, len(val)) == ((10, 1, 9, 7), 1, 5)
    assert torch.equal(val.images[:, 0], torch.from_numpy(grey[10:15]))
    np.savez(tmp_path / "mnist.npz", x_train=grey[:15], y_train=LABELS[:15], x_test=grey[15:], y_test=LABELS[15:])
    assert [len(source) for source in both(train=str(tmp_path / "mnist.npz"))] == [15, 5]


def test_a_part_is_held_out_and_labels_may_be_names(tmp_path):
    names = np.array(["ant", "bee", "cat", "dog"])[LABELS]
    np.savez(tmp_path / "all.npz", images=IMAGES, labels=names)
    train, val = both(train=str(tmp_path / "all.npz"))
    assert train.classes == ("ant", "bee", "cat", "dog")
    assert (train.class_counts.tolist(), val.class_counts.tolist()) == ([4] * 4, [1] * 4)
    seen = {tuple(image.flatten().tolist()) for source in (train, val) for image in source.images}
    assert len(seen) == 20


def test_a_layout_that_could_be_both(tmp_path):
    path = str(tmp_path / "all.npz")
    np.savez(path, images=IMAGES[:, :, :, :3], labels=LABELS)
    with pytest.raises(ConfigError, match=r"say where the channels are: data\.layout=NHWC or NCHW"):
        both(train=path)
    assert both(train=path, layout="NCHW")[0].image_size == (9, 3)
    assert both(train=path, layout="NHWC")[0].image_size == (3, 9)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, "must have images and labels, or train_images and train_labels; it has images"),
        ({"images": IMAGES / 255, "labels": LABELS}, r"must have images of bytes \(uint8\).*float64"),
        ({"images": IMAGES, "labels": LABELS / 2}, "a whole number or a name for each"),
        ({"images": IMAGES, "labels": LABELS[:9]}, "has 20 images but 9 labels"),
        ({"images": IMAGES.astype(object), "labels": LABELS}, r"data\.train=.*a\.npz: cannot be read: .*allow_pickle"),
        ({"images": IMAGES.astype(str), "labels": LABELS}, r"must have images of bytes \(uint8\).*<U"),
        (
            {"images": IMAGES, "labels": np.array([b"a", b"\xff"] * 10)},
            r"data\.train=.*a\.npz: cannot be read: .*utf-8",
        ),
        ({"images": IMAGES, "labels": LABELS + 10**12}, "the label 1000000000003 is out of range: it gives"),
        ({"images": IMAGES, "labels": LABELS * 0}, "Arrays has the class '0' only; there must be two or more"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "Arrays has no training images"),
        ({"images": IMAGES[:, :, :0], "labels": LABELS}, r"must have uint8 images \[N, C, H, W\] with pixels"),
        ({"images": np.zeros((4, 5, 5, 2), np.uint8), "labels": LABELS[:4]}, r"has the shape \[4, 5, 5, 2\]"),
    ],
)
def test_wrong_arrays_are_told(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ConfigError, match=message):
        both(train=str(tmp_path / "a.npz"))


def test_wrong_files_are_told(tmp_path):
    damaged, single = io.BytesIO(), io.BytesIO()
    np.savez(damaged, images=IMAGES, labels=LABELS)
    damaged.getbuffer()[1000:1010] = bytes(10)
    np.save(single, IMAGES)
    with pytest.raises(ConfigError, match=r"data\.train: is missing"):
        both()
    for name, content, message in (
        ("a.npz", None, "cannot be read: .*No such file"),
        ("a.npz", b"nothing", "cannot be read"),
        ("a.safetensors", b"nothing of this kind", "cannot be read"),
        ("b.npz", damaged.getvalue(), r"data\.train=.*b\.npz: cannot be read: .*CRC"),
        ("c.npz", single.getvalue(), r"data\.train=.*c\.npz: cannot be read: .*a single array"),
        ("a.csv", b"1,2", "must be an .npz or a .safetensors file"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            both(train=str(tmp_path / name))
