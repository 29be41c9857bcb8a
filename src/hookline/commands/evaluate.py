"""Numbers, tables and pictures of what a run has trained."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from hookline.analysis.evaluation import write_curves, write_mistakes, write_tables
from hookline.commands.of_run import folder_in_run, open_run
from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ConfigError
from hookline.config.errors import shown as shown_value
from hookline.config.files import make_folder, write_json
from hookline.config.instantiate import told_at
from hookline.data import Batch, Loader, Source
from hookline.data.source import SPLITS, WORDS
from hookline.engine.evaluate import evaluate as measure
from hookline.engine.tta import KINDS, Averaged
from hookline.experiment import build_metrics, build_source, build_val_loader
from hookline.experiment.trained import Trained
from hookline.loggers.console import shown
from hookline.metrics import Outputs, Samples
from hookline.metrics.intervals import bootstrap, mcnemar, paired_interval
from hookline.metrics.scores import headline

log = logging.getLogger(__name__)

# Number, what it is, and its unit.
TOLD = {
    "top1": ("top-1 accuracy", " %"),
    "top5": ("top-5 accuracy", " %"),
    "loss": ("cross-entropy", ""),
    "precision": ("precision, mean of classes", " %"),
    "recall": ("recall, mean of classes", " %"),
    "f1": ("F1, mean of classes", " %"),
    "map": ("average precision, mean", " %"),
    "auroc": ("area under ROC, mean", " %"),
    "mcc": ("Matthews correlation", ""),
    "kappa": ("Cohen's kappa", ""),
    "ece": ("calibration error (ECE)", " %"),
    "brier_error": ("Brier score", ""),
}


@dataclass
class Measured:
    """One run's evaluation."""

    trained: Trained
    source: Source
    samples: Samples
    numbers: dict[str, float]
    folder: Path


def evaluate(cfg: DictConfig) -> None:
    """Measure one run, or two and whether they differ; write the files and print the numbers."""
    check(cfg)
    runs = OmegaConf.to_container(cfg.run) if OmegaConf.is_list(cfg.run) else None
    if runs is None:
        one(cfg, open_run(cfg), None)
        return
    assert isinstance(runs, list)
    first, second = [one(cfg, open_run(cfg, run), f"{number}") for number, run in enumerate(runs, 1)]
    compare(cfg, first, second)


def check(cfg: DictConfig) -> None:
    """Raise `ConfigError` where a key has a value that it cannot have."""
    with told_at(""):
        check_choice("split", cfg.split, SPLITS)
        check_choice("tta", cfg.tta, KINDS)
        check_number("resamples", cfg.resamples, ge=10, integer=True)
        check_number("seed", cfg.seed, ge=0, integer=True)
        check_number("mistakes", cfg.mistakes, ge=0, integer=True)
    if cfg.output_dir is not None and (not isinstance(cfg.output_dir, str) or not cfg.output_dir):
        raise ConfigError(f"output_dir={cfg.output_dir}: must be the path of a folder")
    if OmegaConf.is_list(cfg.run) and len(cfg.run) != 2:
        raise ConfigError(f"run={shown_value(cfg.run)}: must be one run directory, or a list of two")


def one(cfg: DictConfig, trained: Trained, part: str | None) -> Measured:
    """Measure one run, and write and print what comes of it.

    Args:
        cfg: the command's config.
        trained: the run.
        part: the name of its folder in `output_dir`, where there are two.
    """
    source = source_of(cfg, trained)
    if cfg.output_dir is None:
        folder = folder_in_run(trained, cfg, "evaluation")
    else:
        folder = Path(cfg.output_dir).expanduser() / (part or "")
    make_folder(folder)
    with told_at("data"):
        loader = build_val_loader(trained.cfg, source, source, trained.device)
    threads = trained.cfg.runner.get("threads")
    if isinstance(threads, int) and trained.device.type == "cpu":
        torch.set_num_threads(threads)  # the order of sums, and so the last digit, depends on it
    outputs = Outputs()
    metrics = [*build_metrics(trained.cfg).values(), outputs]
    forward = Averaged(trained.forward, cfg.tta)
    with told_at("run"):
        own = measure(forward, WithBar(loader, f"evaluating {trained.run_dir.name}"), metrics)
    samples = outputs.samples()
    if len(samples) == 0:
        raise ConfigError(f"data: no {WORDS[cfg.split]} image can be read")
    numbers = headline(samples) | own
    intervals = bootstrap(samples, cfg.resamples, cfg.seed)
    report = {
        "run": str(trained.run_dir),
        "checkpoint": str(trained.checkpoint),
        "weights": trained.weights,
        "epoch": trained.epoch,
        "iterations": trained.iterations,
        "split": cfg.split,
        "samples": len(samples),
        "tta": cfg.tta,
        "overrides": list(cfg.overrides),
        "metrics": {name: {"value": value, **_interval(intervals.get(name))} for name, value in numbers.items()},
        "training": training_row(trained),
    }
    write_json(folder / "metrics.json", report)
    write_tables(folder, samples, trained.classes, source)
    write_curves(folder, samples, trained.classes)
    write_mistakes(folder, samples, trained.classes, source, cfg.mistakes)
    tell(cfg, trained, samples, numbers, intervals, folder)
    return Measured(trained, source, samples, numbers, folder)


def source_of(cfg: DictConfig, trained: Trained) -> Source:
    """Return the images to measure on.

    Raises:
        ConfigError: their classes or channels are not those that the model was trained with.
    """
    data = trained.cfg.get("data")
    if data is None:
        raise ConfigError(f"run={trained.run_dir}: its config has no data; choose some with data=NAME")
    given = [str(override).lstrip("+").partition("=")[0] for override in cfg.overrides]
    # A run may fetch and keep what it needs; to look at one, which may be a stranger's, does neither by these keys.
    for key, value in {"download": False, "cache": "none"}.items():
        if key in data and f"data.{key}" not in given:
            data[key] = value
    source = build_source(trained.cfg, cfg.split)
    source.check()
    found = [" ".join(str(name).split()) for name in source.classes]
    if found not in ([" ".join(name.split()) for name in trained.labels], trained.classes):
        raise ConfigError(
            f"data: has other classes than the run {trained.run_dir}: {difference(found, trained.labels)}"
        )
    if source.channels != trained.transforms.channels:
        raise ConfigError(
            f"data: has images of {source.channels} channels, and the run {trained.run_dir} was trained on images of"
            f" {trained.transforms.channels}; data.channels chooses it where a data set can have both"
        )
    return source


def difference(found: Sequence[str], expected: Sequence[str]) -> str:
    """Return how two lists of classes differ, in words."""
    if len(found) != len(expected):
        return f"{len(found)} and not {len(expected)}"
    place = next((number for number, pair in enumerate(zip(found, expected, strict=True)) if len(set(pair)) > 1), 0)
    order = " (the same in another order)" if sorted(found) == sorted(expected) else ""
    return f"class {place} is {found[place]!r} and not {expected[place]!r}{order}"


def training_row(trained: Trained) -> dict[str, float]:
    """Return what training measured with these weights: the row of the history, the average's where it is that."""
    row = next((row for row in trained.history if row.get("iterations") == trained.iterations), {})
    name = trained.weights.removeprefix("the average ")
    prefix = f"val_{name}/" if name != trained.weights else "val/"
    return {key.removeprefix(prefix): value for key, value in row.items() if key.startswith(prefix)}


def tell(
    cfg: DictConfig,
    trained: Trained,
    samples: Samples,
    numbers: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    folder: Path,
) -> None:
    """Print the numbers as a table, and what training had measured."""
    log.info("%s: %s, epoch %d", shown(trained.checkpoint), trained.weights, trained.epoch)
    augmented = "" if cfg.tta == "none" else f", averaged over {cfg.tta}"
    log.info("%s %s images of %d classes%s", f"{len(samples):,}", WORDS[cfg.split], samples.classes, augmented)
    log.info("%-28s %10s   %s", "", "", f"95 % interval, {cfg.resamples:,} resamples")
    for name, (words, unit) in TOLD.items():
        if name == "top5" and samples.classes <= 5:
            continue
        low, high = intervals[name]
        digits = 2 if unit else 4
        log.info("%-28s %10s   %.*f to %.*f", words, f"{numbers[name]:.{digits}f}{unit}", digits, low, digits, high)
    for name in numbers.keys() - TOLD.keys():
        log.info("%-28s %10.4f", name, numbers[name])
    had = training_row(trained)
    plain = cfg.split == "val" and cfg.tta == "none" and not cfg.overrides
    if "top1" in had and plain:
        same = had["top1"] == numbers["top1"]
        log.info("training measured top-1 %.2f %%: %s", had["top1"], "the same" if same else "not the same")
    log.info("files: %s", shown(folder))


def compare(cfg: DictConfig, first: Measured, second: Measured) -> None:
    """Print and write whether two runs differ on the same samples.

    Raises:
        ConfigError: they were measured on other samples.
    """
    a, b = first.samples, second.samples
    if len(a) != len(b) or not torch.equal(a.indices, b.indices) or not torch.equal(a.targets, b.targets):
        raise ConfigError(
            f"run=[{first.trained.run_dir}, {second.trained.run_dir}]: were measured on other images, so they cannot be"
            " compared; give both the same data with data=NAME and data.KEY=VALUE"
        )
    test = mcnemar(a.top(1), b.top(1))
    low, high = paired_interval(a.top(1), b.top(1), cfg.resamples, cfg.seed)
    gap = second.numbers["top1"] - first.numbers["top1"]
    folder = first.folder if cfg.output_dir is None else first.folder.parent
    write_json(
        folder / "comparison.json",
        {
            "runs": [str(first.trained.run_dir), str(second.trained.run_dir)],
            "top1": [first.numbers["top1"], second.numbers["top1"]],
            "difference": gap,
            "interval": [low, high],
            "mcnemar": test,
        },
    )
    log.info("top-1 differs by %+.2f points (second minus first), 95 %% interval %+.2f to %+.2f", gap, low, high)
    log.info(
        "right in the first run alone %d, in the second alone %d, in both %d, in none %d",
        *(test["only_first"], test["only_second"], test["both"], test["neither"]),
    )
    verdict = "they differ" if test["p"] < 0.05 else "no difference is shown"
    log.info("McNemar's exact test: p = %.3g: %s (at 5 %%)", test["p"], verdict)
    log.info("comparison: %s", shown(folder / "comparison.json"))


class WithBar:
    """The batches of a loader, with a progress bar on a terminal."""

    def __init__(self, loader: Loader, told: str) -> None:
        self.loader = loader
        self.told = told

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches."""
        hidden = not sys.stderr.isatty()
        yield from tqdm(self.loader.batches(epoch), self.told, len(self.loader), leave=False, disable=hidden)


def _interval(interval: tuple[float, float] | None) -> dict[str, Any]:
    return {} if interval is None else {"interval": list(interval)}
