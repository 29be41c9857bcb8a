"""What is wrong with a data set's images, and how they are spread: every one of them is read."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tqdm import tqdm

from hookline.config.errors import reason_of
from hookline.data import Source
from hookline.data.parallel import in_order
from hookline.data.source import WORDS, read_image

# So many names stand in a line on the screen; the files have all.
SHOWN = 3


@dataclass(frozen=True)
class Sample:
    """What was found of one sample.

    Attributes:
        split: `train` or `val`.
        index: its number in the source.
        name: its file, where it has one.
        label: the name of its class.
        height: pixels; 0 where it cannot be read.
        width: pixels.
        digest: a hash of its pixels: two images have the same if and only if they are the same.
        problem: why it cannot be read; empty if it can.
    """

    split: str
    index: int
    name: str
    label: str
    height: int = 0
    width: int = 0
    digest: str = ""
    problem: str = ""


def read_all(source: Source, threads: int | None = None) -> list[Sample]:
    """Return what there is to say of each sample of a source, which threads read."""
    labels = source.targets.tolist()

    def look(index: int) -> Sample:
        about = (source.split, index, source.name_of(index), source.classes[labels[index]])
        try:
            image = read_image(source, index)
        except (Exception, SystemExit) as error:  # whatever a source raises of a file that it cannot read
            return Sample(*about, problem=reason_of(error))
        content = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
        content.update(image.contiguous().numpy().data)
        return Sample(*about, height=image.shape[1], width=image.shape[2], digest=content.hexdigest())

    found = in_order(look, range(len(source)), threads)
    return list(tqdm(found, total=len(source), desc=source.split, unit="image", disable=None, leave=False))


def summary_of(samples: Mapping[str, Sequence[Sample]], classes: Sequence[str], near_empty: int) -> dict[str, Any]:
    """Return the report as plain values.

    Args:
        samples: those of each split.
        classes: the names of all classes.
        near_empty: a class with fewer images is listed.
    """
    splits = {name: _split_summary(found, classes, near_empty) for name, found in samples.items()}
    return {
        "ok": not any(part["broken"] for part in splits.values()),
        "splits": splits,
        "in_both": _in_both(samples.get("train", []), samples.get("val", [])),
    }


def _split_summary(samples: Sequence[Sample], classes: Sequence[str], near_empty: int) -> dict[str, Any]:
    whole = [sample for sample in samples if not sample.problem]
    counts = Counter(sample.label for sample in whole)
    in_classes = {name: counts[name] for name in classes}
    alike = [group for group in _by_digest(whole).values() if len(group) > 1]
    return {
        "images": len(samples),
        "broken": [
            {"index": sample.index, "name": sample.name, "reason": sample.problem}
            for sample in samples
            if sample.problem
        ],
        "width": _spread([sample.width for sample in whole]),
        "height": _spread([sample.height for sample in whole]),
        "in_a_class": _spread(list(in_classes.values())),
        "classes": in_classes,
        "near_empty": [name for name, count in in_classes.items() if count < near_empty],
        "duplicates": [[sample.name for sample in group] for group in alike],
        "duplicates_of_another_class": [
            [f"{sample.name} ({sample.label})" for sample in group]
            for group in alike
            if len({sample.label for sample in group}) > 1
        ],
    }


def _in_both(training: Sequence[Sample], validation: Sequence[Sample]) -> list[dict[str, list[str]]]:
    train, val = _by_digest(training), _by_digest(validation)
    return [
        {"train": [sample.name for sample in train[digest]], "val": [sample.name for sample in group]}
        for digest, group in val.items()
        if digest in train
    ]


def _by_digest(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    found = defaultdict(list)
    for sample in samples:
        if not sample.problem:
            found[sample.digest].append(sample)
    return dict(found)


def _spread(values: Sequence[int]) -> dict[str, float]:
    return {"min": min(values), "median": median(values), "max": max(values)} if values else {}


def rows_of(samples: Mapping[str, Sequence[Sample]]) -> list[dict[str, Any]]:
    """Return a row for each sample of all splits."""
    return [asdict(sample) for found in samples.values() for sample in found]


def told(summary: Mapping[str, Any], near_empty: int) -> list[str]:
    """Return the lines that tell the report to a person."""
    lines = []
    for split, part in summary["splits"].items():
        counts, few = part["classes"], part["near_empty"]
        broken = [f"{each['name']}: {each['reason']}" for each in part["broken"]]
        alike = [_alike(group) for group in part["duplicates"]]
        crossing = [_alike(group) for group in part["duplicates_of_another_class"]]
        lines += [
            f"{WORDS[split]}: {part['images']:,} images of {len(counts):,} classes",
            *_listed("images that cannot be read", broken),
            f"  width: {_told_spread(part['width'])}; height: {_told_spread(part['height'])}",
            f"  images in a class: {_told_spread(part['in_a_class'])}",
            *_listed(f"classes with fewer than {near_empty} images", [f"{name} ({counts[name]})" for name in few]),
            *_listed("groups of images with the same pixels", alike),
            *(_listed("of these groups with several classes", crossing) if alike else []),
        ]
    if len(summary["splits"]) > 1:
        both = [_alike([*pair["val"], *pair["train"]]) for pair in summary["in_both"]]
        lines += ["both:", *_listed("images of validation with the same pixels as one of training", both)]
    return lines


def _listed(what: str, entries: Sequence[str]) -> list[str]:
    """Return how many there are, and the first of them."""
    more = [f"    and {len(entries) - SHOWN:,} more"] if len(entries) > SHOWN else []
    return [f"  {what}: {len(entries) or 'none'}", *(f"    {entry}" for entry in entries[:SHOWN]), *more]


def _alike(names: Sequence[str]) -> str:
    """Return the names of equal images, the first of them."""
    more = [f"{len(names) - SHOWN:,} more"] if len(names) > SHOWN else []
    return " = ".join([*names[:SHOWN], *more])


def _told_spread(spread: Mapping[str, float]) -> str:
    if not spread:
        return "unknown"
    if spread["min"] == spread["max"]:
        return f"{spread['min']:g}"
    return f"{spread['min']:g} to {spread['max']:g}, median {spread['median']:g}"
