"""Source, transforms, mixing and loaders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from hookline.config.checks import check_bool, check_choice, check_number
from hookline.config.errors import ConfigError, ParameterError
from hookline.config.instantiate import build, parameter_error, to_plain, told_at

if TYPE_CHECKING:
    import torch

    from hookline.data import Source
    from hookline.data.loader import SourceLoader
    from hookline.data.mix import Mix
    from hookline.data.sampler import Sampler
    from hookline.data.transforms import Transform
    from hookline.engine.processes import Processes

# Keys of the `data` group that say how batches are made of a source; the others are the source's own.
LOADING = frozenset(
    {
        "batch_size",
        "val_batch_size",
        "drop_last",
        "train_transforms",
        "transforms",
        "workers",
        "worker_type",
        "on_error",
        "in_memory",
        "subset",
        "subset_seed",
        "sampler",
        "samples_per_epoch",
        "repeats",
        "cache",
        "cache_dir",
        "cache_size",
    }
)


def build_source(cfg: DictConfig, split: str, *, tell: bool = True) -> Source:
    """Return the split of the data set that the `data` group describes; nothing is read yet.

    With the training split, what the group `augment` leaves open is filled in from the model and, where that says
    nothing, from the training images. `tell` says whether to print what the images will be like.
    """
    from hookline.data import Source
    from hookline.data.cache import KINDS
    from hookline.experiment.augment import resolve_augment

    node = source_node(cfg)
    with told_at("data"):
        check_choice("cache", cfg.data.get("cache") or "none", ("none", *KINDS))
    source: Source = build(node, "data", kind=Source, wanted="a subclass of hookline.data.Source", split=split)
    if not hasattr(source, "split"):
        target = f"data._target_={node['_target_']}"
        raise ConfigError(f"{target}: its __init__ must call super().__init__(split=split)")
    if split == "train":
        resolve_augment(cfg, source, tell=tell)
    return source


def source_node(cfg: DictConfig) -> dict[str, Any]:
    """Return the part of the `data` group that is the source's own."""
    return {key: value for key, value in to_plain(cfg.data, "data").items() if key not in LOADING}


def with_cache(cfg: DictConfig, source: Source) -> Source:
    """Return the source behind the cache that `data.cache` asks for; as it is for none, and where it lies in memory."""
    from hookline.data import InMemorySource
    from hookline.data.cache import CachedSource, default_folder

    cache = cfg.data.get("cache") or "none"
    with told_at("data"):
        if cache == "none" or isinstance(source, InMemorySource):
            return source
        if not isinstance(cfg.data.get("cache_dir"), str | None):
            raise ParameterError("cache_dir", to_plain(cfg.data, "data")["cache_dir"], "the path of a folder, or null")
        return CachedSource(
            source,
            cache=cache,
            cache_dir=cfg.data.get("cache_dir") or default_folder(),
            cache_size=cfg.data.get("cache_size", 256),
            settings=json.dumps(source_node(cfg), sort_keys=True, default=str),
        )


def build_transforms(cfg: DictConfig) -> tuple[dict[str, Transform], dict[str, Transform]]:
    """Return the transforms of training images alone, and those of all images, by name; a null entry is left out."""
    from hookline.data.transforms import Transform

    found: list[dict[str, Transform]] = []
    for group in ("train_transforms", "transforms"):
        named = {}
        for name, node in to_plain(cfg.data.get(group) or {}, f"data.{group}").items():
            key = f"data.{group}.{name}"
            if node is None:
                continue
            transform = build(node, key, kind=Transform, wanted="a subclass of hookline.data.transforms.Transform")
            if transform.draws and group == "transforms":
                kind = type(transform).__name__
                raise ConfigError(f"{key}={kind}: must be a transform without randomness (see data.train_transforms)")
            named[name] = transform
        found.append(named)
    training, common = found
    for name in training.keys() & common.keys():
        raise ConfigError(f"data.transforms.{name}: has the name of one of data.train_transforms; give it another")
    return training, common


def build_train_loader(
    cfg: DictConfig,
    source: Source,
    device: torch.device,
    mix: Mix | None = None,
    processes: Processes | None = None,
) -> SourceLoader:
    """Return the loader of the training split, or of this process's share of its batches."""
    training, common = build_transforms(cfg)
    with told_at("data"):
        return _build_loader(
            cfg,
            source,
            batch_size=cfg.data.batch_size,
            transforms=training | with_normalization(cfg, common, source),
            mix=mix,
            sampler=build_sampler(cfg, source),
            drop_last=cfg.data.get("drop_last", False),
            seed=cfg.seed,
            device=device,
            processes=processes,
        )


def build_val_loader(
    cfg: DictConfig, source: Source, training: Source, device: torch.device, processes: Processes | None = None
) -> SourceLoader:
    """Return the loader of the validation split, whose images are normalised as the training split's."""
    _, common = build_transforms(cfg)
    size = cfg.data.get("val_batch_size", cfg.data.batch_size)
    transforms = with_normalization(cfg, common, training)
    try:
        with told_at("data"):
            return _build_loader(
                cfg, source, split="val", batch_size=size, transforms=transforms, device=device, processes=processes
            )
    except ConfigError as error:
        cause = error.__cause__
        if isinstance(cause, ParameterError) and cause.name == "batch_size":
            raise parameter_error("data", ParameterError("val_batch_size", cause.value, cause.expected)) from error
        raise


def _build_loader(
    cfg: DictConfig,
    source: Source,
    *,
    split: str = "train",
    device: torch.device,
    processes: Processes | None = None,
    **options: Any,
) -> SourceLoader:
    """Return a loader of the kind that suits the source: from memory if it is there and needs no work per sample."""
    from hookline.config.cores import available_cores
    from hookline.data import InMemoryLoader, InMemorySource, SampleLoader
    from hookline.data.held import HeldSource
    from hookline.data.sample_loader import WORKER_TYPES, resolve_workers
    from hookline.data.sample_reader import ON_ERROR
    from hookline.experiment.augment import build_augment

    sample_transforms, data = build_augment(cfg, split), cfg.data
    in_memory = data.get("in_memory")
    if in_memory is None:
        in_memory = isinstance(source, InMemorySource)
    check_bool("in_memory", in_memory)
    cores = available_cores(processes.local_count if processes else 1)
    workers = resolve_workers(data.get("workers", "auto"), cores=cores, device=device)
    if processes is not None:
        options |= {"rank": processes.rank, "processes": processes.count}
    given = {key: data[key] for key in ("worker_type", "on_error") if key in data}
    # A mistake is told also where the data are in memory, and the keys have no effect.
    check_choice("worker_type", given.get("worker_type", "thread"), WORKER_TYPES)
    check_choice("on_error", given.get("on_error", "raise"), ON_ERROR)
    if in_memory and not sample_transforms:
        return InMemoryLoader(source, device=device, **options)
    if in_memory and not isinstance(source, InMemorySource):
        source = HeldSource(source)
    return SampleLoader(source, sample_transforms=sample_transforms, workers=workers, device=device, **given, **options)


def build_sampler(cfg: DictConfig, source: Source) -> Sampler:
    """Return what says which training samples an epoch visits."""
    from hookline.data.sampler import Sampler, stratified
    from hookline.data.weights import sample_weights

    data = to_plain(cfg.data, "data")
    subset, subset_seed, wanted = data.get("subset"), data.get("subset_seed", 0), data.get("sampler")
    source.check()
    with told_at("data"):
        check_number("subset_seed", subset_seed, ge=0, integer=True)
        pool = None if subset is None else stratified(source.targets, subset, subset_seed)
        return Sampler(
            source.targets,
            shuffle=True,
            pool=pool,
            weights=None if wanted is None else sample_weights(wanted, source, pool),
            repeats=data.get("repeats", 1),
            samples_per_epoch=data.get("samples_per_epoch"),
        )


def with_normalization(cfg: DictConfig, transforms: Mapping[str, Transform], training: Source) -> dict[str, Transform]:
    """Return the transforms; with a `Normalize` by the group `augment` or the training images if they have none."""
    from hookline.data import Normalize
    from hookline.experiment.augment import normalization

    if any(isinstance(transform, Normalize) for transform in transforms.values()):
        return dict(transforms)
    return {**transforms, "normalize": normalization(cfg, training)}


def input_shape(cfg: DictConfig, source: Source) -> tuple[int, int, int]:
    """Return channels, height and width of the images that the model sees; no image is read if the source knows."""
    import torch

    from hookline.data.loader import transformed
    from hookline.data.sample_reader import SampleReader
    from hookline.data.sampler import Sampler
    from hookline.experiment.augment import build_augment

    size, sample_transforms = source.image_size, build_augment(cfg, "val")
    if size is not None and not sample_transforms:
        images = torch.zeros(1, source.channels, *size, dtype=torch.uint8)
    else:
        on_error = cfg.data.get("on_error", "raise")
        source.check()
        sampler = Sampler(source.targets)
        with told_at("data"):
            reader = SampleReader(source, sample_transforms, sampler=sampler, on_error=on_error, split="val")
        images = reader.read(0, 0, 0, {})[0].unsqueeze(0)
    _, common = build_transforms(cfg)
    for name, transform in common.items():
        images = transformed(name, transform, images, torch.empty(1, 0))
    channels, height, width = images.shape[1:]
    return channels, height, width


def build_mix(cfg: DictConfig, loss: Any, num_classes: int, device: torch.device) -> Mix | None:
    """Return what mixes the samples of a batch, None for nothing.

    Raises:
        ConfigError: the loss takes no soft targets.
    """
    import torch

    from hookline.data.mix import Mix

    node = cfg.get("mix")
    if node is None or node.get("_target_") is None:
        return None
    mix: Mix = build(node, "mix", kind=Mix, num_classes=num_classes)
    logits = torch.zeros(2, num_classes, device=device)
    message = (
        f"mix: mixing gives soft targets, and {type(loss).__name__} takes labels only; choose loss=cross_entropy,"
        " soft_target, bce or focal, or mix=none"
    )
    try:
        value = loss(logits, torch.full_like(logits, 1 / num_classes))
    except Exception as error:  # whatever a loss for labels does with something else
        raise ConfigError(message) from error
    if value.ndim != 0 or not bool(value.isfinite()):
        raise ConfigError(message)
    return mix
