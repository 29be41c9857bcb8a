"""Encoded images into tensors: JPEG through libjpeg-turbo, every other format through Pillow."""

from __future__ import annotations

import re
from io import BytesIO

import numpy as np
import simplejpeg
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from hookline.config.errors import reason_of

# 805 MB in three channels of 8 bits: an image of 100 megapixels is read, and a header that claims more is not believed.
MAX_PIXELS = 2**28
ORIENTATION = 0x0112
# Markers of segments of a JPEG.
APP1, START_OF_SCAN = 0xE1, 0xDA
# What libjpeg warns of where pixels are lost. Bytes before any other marker, such as the end's, leave them whole.
LOST = re.compile(
    "premature end|bad Huffman code|arithmetic code|instead of RST|before marker 0x(c4|da|d[0-7])", re.IGNORECASE
)
# What Pillow does before it decodes: it warns at its limit and refuses at twice as many pixels.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


class DecodeError(ValueError):
    """An image cannot be decoded; the text is a short reason, and whoever knows the file adds its name."""


def decode(content: bytes, channels: int = 3) -> Tensor:
    """Return an encoded image as uint8 `[channels, H, W]`, which need not be contiguous; threads may call it together.

    The pixels are those of Pillow's `convert("RGB")` (or `"L"`; of a colour JPEG, its luminance as it is stored), so
    that a pretrained model sees what it was trained on: transparency is dropped and not blended, and of an animation
    the first frame is taken. What Pillow does not convert well is done here: 16 bits are scaled to 8, and EXIF's
    orientation is applied.

    Args:
        content: the bytes of a file.
        channels: 3 for RGB, 1 for grey.

    Raises:
        DecodeError: the content is empty, truncated, corrupt, of no known format, or of more than `MAX_PIXELS` pixels.
    """
    if not content:
        raise DecodeError("the file is empty")
    if content[:3] == b"\xff\xd8\xff":
        pixels = _decode_jpeg(content, channels)
        if pixels is not None:
            return pixels
    return _decode_any(content, channels)


def pixels_of(image: Image.Image, channels: int = 3) -> Tensor:
    """Return an image of Pillow's as `decode` does its file: uint8 `[channels, H, W]`."""
    _check_size(*image.size)
    pixels = np.array(_eight_bits(ImageOps.exif_transpose(image)).convert("L" if channels == 1 else "RGB"))
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], channels)).permute(2, 0, 1)


def _decode_jpeg(content: bytes, channels: int) -> Tensor | None:
    """Return a JPEG's pixels, or None for one that Pillow has to judge: an unusual one, or one with an error in it."""
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(content)
        _check_size(width, height)
        printed = colorspace in ("CMYK", "YCCK")
        pixels = simplejpeg.decode_jpeg(content, "CMYK" if printed else "GRAY" if channels == 1 else "RGB", strict=True)
        if printed:
            return None
    except DecodeError:
        raise
    except ValueError as error:  # strict takes errors that do no harm for those that do
        if LOST.search(str(error)):
            raise DecodeError(f"it is truncated or damaged: {error}") from error
        return None
    return _oriented(torch.from_numpy(pixels).permute(2, 0, 1), _orientation_of(content))


def _orientation_of(jpeg: bytes) -> int:
    content = _exif_of(jpeg)
    if not content:
        return 1
    exif = Image.Exif()
    try:
        exif.load(content)
        return int(exif.get(ORIENTATION, 1))
    except Exception:  # whatever Pillow makes of tags that are broken: the pixels are not
        return 1


def _exif_of(jpeg: bytes) -> bytes:
    """Return the segment with EXIF, which stands before the pixels; no bytes if there is none."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and jpeg[at + 1] != START_OF_SCAN:
        if jpeg[at + 1] == 0xFF:  # a byte that fills
            at += 1
            continue
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        if jpeg[at + 1] == APP1 and jpeg[at + 4 : at + 10] == b"Exif\0\0":
            return jpeg[at + 4 : end]
        at = end
    return b""


def _oriented(image: Tensor, orientation: int) -> Tensor:
    """Return the image as a viewer shows it, by its orientation in EXIF (1 to 8; any other number changes nothing)."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(-1, -2)
    axes = {2: (-1,), 3: (-1, -2), 4: (-2,), 6: (-1,), 7: (-1, -2), 8: (-2,)}.get(orientation)
    return image.flip(axes) if axes else image


def _decode_any(content: bytes, channels: int) -> Tensor:
    try:
        with Image.open(BytesIO(content)) as image:
            return pixels_of(image, channels)
    except DecodeError:
        raise
    except UnidentifiedImageError as error:
        raise DecodeError("its format is not known, or its beginning is damaged") from error
    except Image.DecompressionBombError as error:
        raise DecodeError(f"it claims more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:  # plugins raise errors of any kind about content that they do not expect
        raise DecodeError(reason_of(error)) from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return an image of more than 8 bits a channel scaled to 8, and one with transparency in a mode with alpha."""
    if image.mode.startswith("I"):  # 16 bits, or fewer, also where the mode has room for 32
        values = np.asarray(image).astype(np.int64)
        shift = 0 if image.mode == "I" and values.max() <= 255 else 8
        return Image.fromarray((values >> shift).clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        pixels = np.nan_to_num(np.asarray(image))
        scale = 255 if pixels.max() <= 1 else 1
        return Image.fromarray((pixels * scale).round().clip(0, 255).astype(np.uint8))
    if image.mode == "RGBa" or "transparency" in image.info:
        return image.convert("RGBA")
    return image


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DecodeError(f"it has {width} x {height} pixels, more than {MAX_PIXELS:,}")
