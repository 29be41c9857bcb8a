"""Every format and mode comes out as a viewer shows it, and what is broken says so."""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from tests.images import encoded, picture

from hookline.data import DecodeError, decode

FORMATS = [
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
    "GIF",
    "TIFF",
    "PPM",
    "TGA",
    "ICO",
    "JPEG2000",
    "AVIF",
    "PCX",
    "SGI",
    "DDS",
    "QOI",
]


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_have_pillows_pixels(kind):
    content = encoded(picture(size=(48, 32)), kind)
    with Image.open(BytesIO(content)) as image:
        expected = pixels(image.convert("RGB"))
    found = decode(content)
    assert found.dtype == torch.uint8
    assert torch.equal(found, expected)


JPEGS = {
    "plain": {},
    "progressive": {"progressive": True},
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "best": {"quality": 100},
    "with a profile": {"icc_profile": bytes(70_000)},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_jpegs_have_pillows_pixels(options):
    content = encoded(picture(size=(101, 67)), **options)
    with Image.open(BytesIO(content)) as image:
        assert torch.equal(decode(content), pixels(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(BytesIO(content)) as image:
        assert torch.equal(decode(content), pixels(ImageOps.exif_transpose(image).convert("RGB")))


def test_exif_is_what_stands_in_its_own_segment():
    exif = Image.Exif()
    exif[0x0112] = 6
    plain, turned = encoded(picture()), encoded(picture(), exif=exif)
    block = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    comment = b"\xff\xfe" + struct.pack(">H", len(block) + 2) + block
    assert torch.equal(decode(plain + turned), decode(plain))
    assert torch.equal(decode(plain[:2] + comment + plain[2:]), decode(plain))
    assert torch.equal(decode(turned[:2] + comment + b"\xff" + turned[2:]), decode(turned))


def test_broken_exif_changes_nothing():
    plain = encoded(picture())
    exif = b"\xff\xe1" + struct.pack(">H", 40) + b"Exif\0\0" + b"\xff" * 32
    assert torch.equal(decode(plain[:2] + exif + plain[2:]), decode(plain))


def test_transparency_is_dropped():
    image = picture().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    assert torch.equal(decode(encoded(image, "PNG")), pixels(picture()))
    grey = picture().convert("LA")
    assert torch.equal(decode(encoded(grey, "PNG")), pixels(picture().convert("L").convert("RGB")))


@pytest.mark.filterwarnings("error")
def test_a_palette_with_transparency():
    image = picture().quantize(16)
    content = encoded(image, "PNG", transparency=bytes(range(16)))
    assert torch.equal(decode(content), pixels(image.convert("RGB")))


def test_grey_becomes_colour_and_colour_grey():
    grey = picture().convert("L")
    assert torch.equal(decode(encoded(grey, "PNG")), pixels(grey.convert("RGB")))
    assert decode(encoded(picture()), channels=1).shape == (1, 16, 24)
    assert torch.equal(decode(encoded(picture(), "PNG"), channels=1)[0], torch.from_numpy(np.array(grey)))
    both = [decode(encoded(grey), channels) for channels in (1, 3)]
    assert torch.equal(both[0].expand(3, -1, -1), both[1])


def test_one_bit():
    found = decode(encoded(picture().convert("1"), "PNG"))
    assert set(found.unique().tolist()) == {0, 255}


def test_cmyk():
    image = picture(size=(64, 64)).convert("CMYK")
    for content in (encoded(image, quality=100, subsampling=0), encoded(image, "TIFF")):
        assert (decode(content).int() - pixels(picture(size=(64, 64))).int()).abs().max() < 16


def test_16_bits_are_scaled():
    ramp = np.linspace(0, 65535, 24 * 16).astype(np.uint16).reshape(16, 24)
    expected = torch.from_numpy((ramp >> 8).astype(np.uint8))
    for kind in ("PNG", "TIFF", "PPM"):
        found = decode(encoded(Image.fromarray(ramp), kind), channels=1)[0]
        assert (found.int() - expected.int()).abs().max() <= 1
    colour = np.stack([ramp, ramp[::-1], ramp], axis=2).astype(">u2")
    lines = b"".join(b"\0" + line.tobytes() for line in colour)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 24, 16, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    assert (decode(png)[0].int() - expected.int()).abs().max() <= 1


def test_floating_point():
    ramp = np.linspace(0, 1, 24 * 16, dtype=np.float32).reshape(16, 24)
    found = decode(encoded(Image.fromarray(ramp), "TIFF"), channels=1)[0]
    assert (found[0, 0], found[-1, -1]) == (0, 255)


def test_of_an_animation_the_first_frame():
    frames = [picture(number).quantize(64) for number in range(3)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert torch.equal(decode(content), decode(encoded(frames[0], "GIF")))


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_truncated(kind, share):
    content = encoded(NOISE, kind)
    with pytest.raises(DecodeError):
        decode(content[: int(share * len(content))])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
@pytest.mark.parametrize("damage", ["cut", "zeros", "claim"])
def test_jpegs_that_lack_pixels(damage, mode, options):
    content = encoded(picture(size=(500, 375)).convert(mode), **options)
    half = len(content) // 2
    broken = {
        "cut": content[:half] + b"\xff\xd9",
        "zeros": content[:half] + bytes(500) + content[half + 500 :],
        "claim": claim(4000, 4000, content),
    }[damage]
    with pytest.raises(DecodeError, match="truncated or damaged"):
        decode(broken)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\xff\xd8\xff", "format is not known|damaged"),
        (b"<html>not found</html>", "format is not known"),
        (bytes(1000), "format is not known"),
    ],
)
def test_what_is_no_image(content, message):
    with pytest.raises(DecodeError, match=message):
        decode(content)


def test_harmless_damage_is_no_error():
    content = encoded(picture(size=(64, 64)))
    assert torch.equal(decode(content + b"trailing"), decode(content))
    assert torch.equal(decode(content[:-2] + bytes(4) + content[-2:]), decode(content))


def test_a_hundred_megapixels():
    content = encoded(Image.new("L", (12_000, 8_500), 77), "PNG")
    image = decode(content, channels=1)
    assert image.shape == (1, 8_500, 12_000)
    assert image[0, -1, -1] == 77


def claim(width: int, height: int, jpeg: bytes | None = None) -> bytes:
    content = bytearray(jpeg or encoded(picture()))
    place = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2")) + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def test_more_pixels_than_can_be_meant():
    png = bytearray(encoded(picture(), "PNG"))
    png[16:24] = struct.pack(">II", 60_000, 60_000)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    for content in (bytes(png), claim(60_000, 60_000)):
        with pytest.raises(DecodeError, match="pixels"):
            decode(content)


def test_threads_together():
    contents = [encoded(picture(i), kind) for i in range(10) for kind in ("JPEG", "PNG", "WEBP")]
    alone = [decode(content) for content in contents]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(decode, contents))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_numbers_of_32_bits_that_fit_into_8_stay():
    values = np.arange(0, 256, dtype=np.int32).reshape(16, 16)
    assert decode(encoded(Image.fromarray(values), "TIFF"), 1)[0].tolist() == values.tolist()
