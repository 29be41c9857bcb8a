"""What models cost: parameters, multiply-adds and activations by stage, speed and memory; accuracy against all that."""

from __future__ import annotations

import csv
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from timm.models import is_model, list_models, split_model_name_tag
from torch import nn

from hookline.analysis.model_cost import Cost, stage_costs, total_cost
from hookline.analysis.speed import Speed, measure
from hookline.charts.accuracy_cost import draw_accuracy_against_cost
from hookline.charts.contact_sheet import shortened
from hookline.charts.text_table import text_table
from hookline.commands.app import overrides
from hookline.config import local
from hookline.config.checks import check_bool, check_number
from hookline.config.cores import available_cores
from hookline.config.errors import ConfigError, ParameterError, did_you_mean, reason_of
from hookline.config.files import replacing, write_json
from hookline.config.groups import options
from hookline.config.instantiate import to_plain, told_at
from hookline.engine.device import device_name
from hookline.engine.forward import evaluating
from hookline.engine.threads import resolve_threads
from hookline.experiment import build_device, build_forward, build_source, choose_numerics, input_shape, require
from hookline.experiment.trained import load
from hookline.job import RESULT_FILE
from hookline.loggers.console import shown
from hookline.models.build import build_model
from hookline.models.deployed import deployed_form
from hookline.models.input import input_of

log = logging.getLogger(__name__)

# What published numbers are for, where a model does not say otherwise.
PUBLISHED = {"in_chans": 3, "num_classes": 1000, "img_size": 224}
LONGEST_NAME = 30


@dataclass
class Subject:
    """A model to tell of.

    Attributes:
        name: what it is called in tables.
        model: in the form that is measured, on the CPU.
        shape: channels, height and width of its images.
        accuracy: the run's accuracy by the name of the number; empty for a model that was not trained.
    """

    name: str
    model: nn.Module
    shape: tuple[int, int, int]
    accuracy: dict[str, float]


@dataclass
class Told:
    """What was found of a model."""

    name: str
    shape: tuple[int, int, int]
    accuracy: dict[str, float]
    stages: list[Cost]
    speeds: list[Speed]

    @property
    def total(self) -> Cost:
        """The costs of the whole model."""
        return total_cost(self.name, self.stages)


def model_info(cfg: DictConfig) -> None:
    """Print tables, write `model_info.json`, `models.csv`, `stages.csv` and, of runs, `accuracy.png`, and say where."""
    check(cfg)
    choose_numerics(cfg)
    device = build_device(cfg)
    with told_at("runner"):
        torch.set_num_threads(resolve_threads(cfg.runner.threads, cores=available_cores()))
    found = [told_of_model(cfg, subject, device) for subject in subjects(cfg)]
    if len(found) == 1:
        log.info("%s\n", text_table(rows_of_stages(found[0])))
    log.info("%s\n", text_table(rows_of_costs(found)))
    if cfg.info.batch_sizes:
        log.info("%s\n", text_table(rows_of_speeds(found)))
        log.info(heading(cfg, device))
    out = Path(HydraConfig.get().runtime.output_dir)
    written = write(out, found)
    if written_picture := draw(out / "accuracy.png", found):
        written.append(written_picture)
    log.info("%s: %s", ", ".join(written), shown(out))


def check(cfg: DictConfig) -> None:
    """Raise `ConfigError` where `info` asks for what cannot be."""
    info = to_plain(cfg.info, "info")
    with told_at("info"):
        for key in ("from_data", "deployed"):
            check_bool(key, info[key])
        if info["img_size"] is not None:
            check_number("img_size", info["img_size"], gt=0, integer=True)
        check_number("seconds", info["seconds"], gt=0)
        for key, wanted in (("batch_sizes", "a list of numbers, such as [1, 8, 32]"), ("compare", "a list of models")):
            if not isinstance(info[key], list):
                raise ParameterError(key, info[key], wanted)
        for size in info["batch_sizes"]:
            check_number("batch_sizes", size, gt=0, integer=True)
        for name in info["compare"]:
            if not isinstance(name, str):
                raise ParameterError("compare", info["compare"], "a list of options of model, or of timm's names")
        if len(set(info["compare"])) < len(info["compare"]):
            raise ParameterError("compare", info["compare"], "a list in which each model stands once")
    if cfg.run is not None:
        ignored = [key for key in ("compare", "from_data", "img_size") if info[key]]
        if ignored:
            raise ConfigError(f"info.{ignored[0]}={info[ignored[0]]}: must be left out with run=, which says all of it")
        refuse_model("run=, which says what the model is")


def refuse_model(beside: str) -> None:
    """Raise `ConfigError` where the command line chooses a model beside what names the models already."""
    for override in overrides():
        if override.lstrip("+~").startswith(("model=", "model.")):
            raise ConfigError(f"{override}: must be left out with {beside}")


def subjects(cfg: DictConfig) -> Iterator[Subject]:
    """Yield the models of the runs, of `info.compare`, or the one of the group `model`."""
    if cfg.run is not None:
        yield from trained_subjects(cfg)
        return
    require(cfg, "model")
    if not cfg.info.compare:
        yield untrained_subject(cfg, name_of(cfg))
    for name in cfg.info.compare:
        yield untrained_subject(chosen(cfg, name), name)


def name_of(cfg: DictConfig) -> str:
    """Return what the model of a config is called: its name in timm or torchvision, or its class."""
    node = cfg.model
    return str(node.get("model_name") or node.get("name") or str(node.get("_target_")).rpartition(".")[2])


def chosen(cfg: DictConfig, name: str) -> DictConfig:
    """Return the config with another model: an option of the group `model`, or any of timm's."""
    refuse_model("info.compare, which names the models")
    known = options(local.config_folders(sys.argv[1:]), "model")
    if name not in known and ":" not in name and not is_model(split_model_name_tag(name)[0]):
        near = did_you_mean(name, [*known, *list_models()])
        raise ConfigError(f"info.compare={name}: is neither an option of model nor a model of timm.{near}")
    choice = [f"model={name}"] if name in known else ["model=timm", f"model.model_name='{name}'"]
    rest = [override for override in overrides() if not override.startswith("info.compare=")]
    return compose(HydraConfig.get().job.config_name, [*rest, *choice])


def untrained_subject(cfg: DictConfig, name: str) -> Subject:
    """Return the model of a config with the input that `info` asks for."""
    info = cfg.info
    with told_at("model"):
        if info.from_data:
            require(cfg, "data")
            source = build_source(cfg, "train")
            channels, size, width = input_shape(cfg, source)
            classes = len(source.classes)
        else:
            made_for = input_of(cfg.model)[0].get("size") or PUBLISHED["img_size"]
            size, width = made_for if isinstance(made_for, list) else (made_for, made_for)
            channels, classes = PUBLISHED["in_chans"], PUBLISHED["num_classes"]
        if info.img_size is not None:
            size = width = info.img_size
        channels = cfg.model.get("in_chans") or channels
        model = build_model(cfg.model, num_classes=classes, in_chans=channels, img_size=size)
    return Subject(name, formed(cfg, model), (channels, size, width), {})


def trained_subjects(cfg: DictConfig) -> Iterator[Subject]:
    """Yield the models of run directories, named by what the directories do not share."""
    runs = list(cfg.run) if OmegaConf.is_list(cfg.run) else [cfg.run]
    if not runs or not all(isinstance(run, str) and run for run in runs):
        raise ConfigError(f"run={cfg.run}: must be a run directory, or a list of them")
    places = [Path(run).expanduser().absolute() for run in runs]
    shared = Path(os.path.commonpath(places)) if len(set(places)) > 1 else places[0].parent
    trust: Any = OmegaConf.to_container(cfg.trust) if OmegaConf.is_list(cfg.trust) else cfg.trust
    for run, place in zip(runs, places, strict=True):
        trained = load(run, weights=cfg.weights, device="cpu", trust=trust)
        kind, own = name_of(trained.cfg), str(place.relative_to(shared))
        name = own if kind in own else f"{kind} {own}"
        accuracy = accuracy_of(trained.run_dir, cfg.weights)
        yield Subject(name, formed(cfg, trained.model), trained.shape, accuracy)


def formed(cfg: DictConfig, model: nn.Module) -> nn.Module:
    """Return the model in the form that is measured."""
    return deployed_form(model) if cfg.info.deployed else model.eval()


def accuracy_of(run_dir: Path, weights: str) -> dict[str, float]:
    """Return the top-1 accuracy that a run says its weights have, by the number's name; nothing where it says none."""
    try:
        result = json.loads((run_dir / RESULT_FILE).read_text())
    except (OSError, ValueError):  # the run is still going on, or the checkpoint came without its directory
        return {}
    monitor = str(result.get("monitor"))
    numbers: dict[str, Any] = result.get("final" if weights == "last" else "best") or {}
    average = [name for name in numbers if name.startswith("val_") and name.endswith("/top1")]
    monitored = [monitor] if monitor.endswith("/top1") and weights == "best" else []
    names = average if weights == "ema" else [*monitored, "val/top1"]
    return next(({name: float(numbers[name])} for name in names if numbers.get(name) is not None), {})


def told_of_model(cfg: DictConfig, subject: Subject, device: torch.device) -> Told:
    """Return what a model costs, and how fast it is with each size of batch."""
    model = subject.model.to(device)
    image = torch.zeros(1, *subject.shape, device=device)
    try:
        with evaluating(model), torch.no_grad():
            model(image)
    except Exception as error:  # whatever a model does with images of a size that it is not made for
        size = " × ".join(map(str, subject.shape))
        raise ConfigError(f"{subject.name}: cannot take an image of {size}: {reason_of(error)}") from error
    stages = stage_costs(model, image)
    forward, speeds = build_forward(cfg, model), []
    for size in cfg.info.batch_sizes:
        try:
            with evaluating(model):
                speeds.append(measure(forward, model, image.expand(size, -1, -1, -1).clone(), cfg.info.seconds))
        except torch.OutOfMemoryError as error:
            raise ConfigError(f"info.batch_sizes={size}: does not fit into memory with {subject.name}") from error
    return Told(subject.name, subject.shape, subject.accuracy, stages, speeds)


def heading(cfg: DictConfig, device: torch.device) -> str:
    """Return where and how speed was measured."""
    threads = f", threads: {torch.get_num_threads()}" if device.type == "cpu" else ""
    return f"measured on {device_name(device)}{threads}, numbers: {cfg.runner.precision}"


def rows_of_stages(told: Told) -> list[list[str]]:
    """Return a table of the stages of a model."""
    rows = [["stage", "parameters", "GMACs", "activations"]]
    for cost in [*told.stages, total_cost("total", told.stages)]:
        rows.append([cost.name, f"{cost.parameters:,}", f"{cost.macs / 1e9:.4f}", f"{cost.activations:,}"])
    return rows


def rows_of_costs(found: Sequence[Told]) -> list[list[str]]:
    """Return a table of models and what they cost for an image."""
    rows = [["model", "image", "M parameters", "GMACs", "M activations"]]
    for told in found:
        total = told.total
        costs = [f"{total.parameters / 1e6:.3f}", f"{total.macs / 1e9:.4f}", f"{total.activations / 1e6:.3f}"]
        rows.append([shortened(told.name, LONGEST_NAME), "×".join(map(str, told.shape)), *costs])
    if any(told.accuracy for told in found):
        reached = [f"{next(iter(told.accuracy.values())):.2f}" if told.accuracy else "" for told in found]
        rows = [[*row, score] for row, score in zip(rows, ["top-1", *reached], strict=True)]
    return rows


def rows_of_speeds(found: Sequence[Told]) -> list[list[str]]:
    """Return a table of models and how fast they are, with a line for each size of batch."""
    rows = [["model", "batch", "ms", "images/s", "MiB"]]
    for told in found:
        for speed in told.speeds:
            name = shortened(told.name, LONGEST_NAME) if speed is told.speeds[0] else ""
            rate, memory = f"{speed.images_per_second:,.0f}", f"{speed.memory / 2**20:,.1f}"
            rows.append([name, str(speed.batch_size), f"{1e3 * speed.seconds:,.2f}", rate, memory])
    return rows


def write(out: Path, found: Sequence[Told]) -> list[str]:
    """Write all numbers, and return the names of the files."""
    models, stages = [], []
    for told in found:
        channels, height, width = told.shape
        accuracy = next(iter(told.accuracy.values()), None)
        costs = {key: value for key, value in asdict(told.total).items() if key != "name"}
        row = {"model": told.name, "channels": channels, "height": height, "width": width, **costs, "top1": accuracy}
        measured = [{**asdict(speed), "images_per_second": speed.images_per_second} for speed in told.speeds]
        models += [{**row, **fields} for fields in measured or [{}]]
        stages += [{"model": told.name, "stage": cost.name, **asdict(cost)} for cost in told.stages]
    for row in stages:
        del row["name"]
    write_json(out / "model_info.json", {"models": models, "stages": stages})
    for name, rows in (("models.csv", models), ("stages.csv", stages)):
        with replacing(out / name) as beside, beside.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return ["model_info.json", "models.csv", "stages.csv"]


def draw(path: Path, found: Sequence[Told]) -> str:
    """Draw accuracy against cost, and return the picture's name; an empty one where no accuracy is known."""
    scored = [told for told in found if told.accuracy]
    if not scored:
        return ""
    costs = {"GMACs": [told.total.macs / 1e9 for told in scored]}
    if all(told.speeds for told in scored):
        last = scored[0].speeds[-1].batch_size
        kind = f"ms for an image, in batches of {last}"
        costs[kind] = [1e3 / told.speeds[-1].images_per_second for told in scored]
    else:
        costs["M parameters"] = [told.total.parameters / 1e6 for told in scored]
    accuracies = [next(iter(told.accuracy.values())) for told in scored]
    with replacing(path) as beside:
        draw_accuracy_against_cost(
            beside, [told.name for told in scored], accuracies, costs, "validation top-1, percent"
        )
    return path.name
