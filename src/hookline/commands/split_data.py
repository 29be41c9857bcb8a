"""A folder or a list of images, split into training, validation and test."""

from __future__ import annotations

import csv
import errno
import logging
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from hookline.analysis.data_entries import Entry, entries_of
from hookline.analysis.data_split import PARTS, split_samples
from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ConfigError, ParameterError, reason_of
from hookline.config.instantiate import told_at
from hookline.loggers.console import shown

log = logging.getLogger(__name__)

MODES = ("list", "link", "copy", "move")


def split_data(cfg: DictConfig) -> None:
    """Write the parts of `source` into `output_dir`, and tell how large they are."""
    check(cfg)
    source, out = Path(cfg.source).expanduser(), Path(cfg.output_dir).expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"output_dir={cfg.output_dir}: is there already; nothing is overwritten")
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise ConfigError(f"output_dir={cfg.output_dir}: must not lie inside source={cfg.source}")
    entries = list(entries_of(source, cfg.group_pattern, cfg.group_column))
    if not entries:
        raise ConfigError(f"source={cfg.source}: has no images")
    groups = None if entries[0].group is None else [entry.group for entry in entries]
    labels = [entry.label for entry in entries]
    parts = split_samples(labels, {"val": cfg.val, "test": cfg.test}, seed=cfg.seed, groups=groups)
    try:
        write(entries, parts, out, cfg.mode)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)  # copying would name the file that was read
        reason = error.strerror if full else reason_of(error)
        raise ConfigError(f"output_dir={cfg.output_dir}: cannot be written: {reason}") from error
    report(labels, parts, groups)
    log.info("%s: %s", cfg.mode, shown(out))


def check(cfg: DictConfig) -> None:
    """Raise `ConfigError` where a key has a value that it cannot have."""
    for key, what in (("source", "a folder of classes or a list of images"), ("output_dir", "a new folder")):
        if not isinstance(cfg[key], str) or not cfg[key]:
            raise ConfigError(f"{key}: is missing; give {what}, {key}=PATH")
    with told_at(""):
        check_number("val", cfg.val, ge=0, lt=1)
        check_number("test", cfg.test, ge=0, lt=1)
        if not 0 < cfg.val + cfg.test < 1:
            raise ParameterError("val", cfg.val, f"such that val and test (here {cfg.test:g}) are in (0, 1) together")
        check_number("seed", cfg.seed, ge=0, integer=True)
        check_choice("mode", cfg.mode, MODES)
        for key in ("group_pattern", "group_column"):
            if cfg[key] is not None and not isinstance(cfg[key], str):
                raise ParameterError(key, cfg[key], "a text, or null")
        if cfg.group_pattern is not None and cfg.group_column is not None:
            raise ParameterError("group_column", cfg.group_column, "null where there is a group_pattern")
        try:
            re.compile(str(cfg.group_pattern))
        except re.error as error:
            raise ParameterError("group_pattern", cfg.group_pattern, f"a regular expression ({error})") from error


def write(entries: Sequence[Entry], parts: Sequence[str], out: Path, mode: str) -> None:
    """Write lists or folders; a folder that is not whole is never in the place of `out`, but for files on their way.

    A file that was moved is listed in `moved.csv`, with where it was, before the first of them goes.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    if mode == "move":
        out.mkdir(exist_ok=True)
        places = [str(place_of(entry, part)) for entry, part in zip(entries, parts, strict=True)]
        before = [os.path.abspath(entry.path) for entry in entries]
        write_table(out / "moved.csv", ("from", "to"), list(zip(before, places, strict=True)))
        place_all(entries, parts, out, shutil.move)
        return
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
        beside = Path(place) / out.name
        beside.mkdir()
        if mode == "list":
            if strange := next((entry.path for entry in entries if not is_unicode(str(entry.path))), None):
                raise ConfigError(
                    f"mode=list: a list is UTF-8, and this name is not: {strange}; rename it, or mode=link"
                )
            for part in dict.fromkeys(parts):
                own = [entry for entry, its in zip(entries, parts, strict=True) if its == part]
                rows = [(os.path.relpath(entry.path, out), entry.label) for entry in own]
                write_table(beside / f"{part}.csv", ("path", "label"), rows)
        else:
            place_all(entries, parts, beside, os.symlink if mode == "link" else shutil.copy2)
        os.rename(beside, out)


def is_unicode(name: str) -> bool:
    """Say whether a name is text; on Linux it may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def place_of(entry: Entry, part: str) -> Path:
    """Return an image's place in the folder of all parts."""
    return Path(part, entry.label, entry.name)


def place_all(entries: Sequence[Entry], parts: Sequence[str], folder: Path, put: Callable[[str, Path], object]) -> None:
    """Put every image into the folder of its part and class."""
    for entry, part in zip(entries, parts, strict=True):
        target = folder / place_of(entry, part)
        target.parent.mkdir(parents=True, exist_ok=True)
        put(os.path.abspath(entry.path), target)


def write_table(path: Path, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV file."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([heading, *rows])


def report(labels: Sequence[str], parts: Sequence[str], groups: Sequence[str | None] | None) -> None:
    """Tell how many images each part has, and of how many classes."""
    classes = set(labels)
    for part in PARTS:
        counts = Counter(label for label, its in zip(labels, parts, strict=True) if its == part)
        if not counts:
            continue
        count = sum(counts.values())
        its_groups = len({group for group, its in zip(groups, parts, strict=True) if its == part}) if groups else 0
        told = f", {its_groups:,} groups" if groups else ""
        log.info(
            "%-5s  %s images (%.1f %%), %s classes with %s to %s%s",
            *(part, f"{count:,}", 100 * count / len(labels), f"{len(counts):,}"),
            *(min(counts.values()), max(counts.values()), told),
        )
        if lacking := sorted(classes - counts.keys()):
            log.warning("%s has no image of %s classes, such as %s", part, len(lacking), ", ".join(lacking[:3]))
