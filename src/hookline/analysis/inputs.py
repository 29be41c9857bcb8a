"""What a user names as input: images, folders and patterns of them, or a video."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hookline.config.errors import ConfigError, did_you_mean, shown
from hookline.data import video
from hookline.data.files import image_suffixes, images_below

WANTED = "an image, a folder of images, a pattern or a video"


@dataclass(frozen=True)
class Inputs:
    """What was named.

    Attributes:
        images: their files, each once; none where it is a video.
        video: its file.
    """

    images: Sequence[Path] = ()
    video: Path | None = None


def inputs_of(given: object, key: str = "input") -> Inputs:
    """Return what a path, a pattern or a list of them means.

    In folders, in those below them, and among what a pattern matches, images are known by their extensions; a file that
    is named itself is taken for an image whatever it is called, unless it has the extension of a video.

    Args:
        given: a path (`~` is the home folder), a pattern such as `photos/**/*.jpg`, or a list.
        key: what messages call it.

    Raises:
        ConfigError: there is nothing.
    """
    several = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if not several or not all(isinstance(one, str | int | float) and str(one) for one in several):
        raise ConfigError(f"{key}: is missing; give {WANTED}, {key}=PATH")
    found = list(dict.fromkeys(path for one in several for path in _paths(str(one), key)))
    videos = [path for path in found if is_video(path)]
    if not videos:
        return Inputs(images=found)
    if len(found) > 1:
        raise ConfigError(
            f"{key}={shown(given)}: must be images or one video; {videos[0]} is one of {len(found)} files"
        )
    return Inputs(video=videos[0])


def is_video(path: Path) -> bool:
    """Say whether a file has the extension of a video."""
    return path.suffix.lower() in video.SUFFIXES


def _paths(given: str, key: str) -> list[Path]:
    path = Path(given).expanduser()
    if path.is_dir():
        found = [path / name for name in images_below(path, key)]
        if not found:
            videos = sum(is_video(file) for file in path.iterdir())
            advice = f"; of its {videos} videos, name one" if videos else ""
            raise ConfigError(f"{key}={given}: the folder has no images{advice}")
        return found
    if path.exists():
        return [path]
    if not glob.has_magic(given):
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ConfigError(f"{key}={given}: there is no such file or folder.{did_you_mean(path.name, beside)}")
    matched = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
    if not matched:
        raise ConfigError(f"{key}={given}: no file matches it")
    found = [file for file in matched if file.suffix.lower() in image_suffixes() or is_video(file)]
    if not found:
        raise ConfigError(f"{key}={given}: none of the {len(matched)} files that match is an image, by its extension")
    return found
