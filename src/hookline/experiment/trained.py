"""A model that was trained, with all that is needed to use it: opened from its run directory or a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from hookline.config.checks import check_choice, check_number
from hookline.config.errors import ConfigError, reason_of
from hookline.config.instantiate import told_at
from hookline.experiment.overrides import changed
from hookline.experiment.trust import Trust, check_trust, read_config, without_weights
from hookline.job import CLASSES_FILE

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image
    from torch import Tensor, nn

    from hookline.data import Source
    from hookline.data.batch import Batch
    from hookline.data.loader import SourceLoader
    from hookline.data.transforms import Transform
    from hookline.data.transforms.sample import SampleTransform
    from hookline.engine import Forward

    Picture = Image.Image | Path | str | np.ndarray | Tensor

WEIGHTS = ("best", "last", "ema")

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# Images that `predict` puts through the model at once.
BATCH = 32


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Attributes:
        classes: names, the most probable first.
        probabilities: of each, in [0, 1]: the softmax of the logits.
    """

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


class Transforms:
    """From an image to what the model gets: the run's validation transforms and its normalisation.

    Args:
        samples: what is done to an image alone, by name.
        batches: what is done to a batch, by name, normalisation included.
        channels: of an image as it is read: 3 for RGB, 1 for grey.
        size: height and width of what the model gets. Images of a run that had them all of one size, and so needed no
            transform for it, are resized to it after all transforms (bilinear, antialiased). None: as they come.
    """

    def __init__(
        self,
        samples: Mapping[str, SampleTransform],
        batches: Mapping[str, Transform],
        channels: int = 3,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.samples = dict(samples)
        self.batches = dict(batches)
        self.channels = channels
        self.size = size

    def __call__(self, image: Picture) -> Tensor:
        """Return one image as the model gets it: float32 `[C, H, W]`."""
        return self.batch(self.pixels(image).unsqueeze(0))[0]

    def pixels(self, image: Picture) -> Tensor:
        """Return one image after the transforms of single images: uint8 `[C, H, W]`, nothing normalised.

        Args:
            image: a path, an image of Pillow's, an array uint8 `[H, W]` or `[H, W, C]`, or a tensor uint8 `[C, H, W]`.

        Raises:
            DecodeError: a file cannot be decoded.
        """
        from hookline.data.sample_reader import NO_DRAWS

        found = self._read(image)
        for transform in self.samples.values():
            found = transform(found, NO_DRAWS)
        return found

    def batch(self, images: Tensor) -> Tensor:
        """Return images uint8 `[B, C, H, W]`, on any device, as the model gets them: float32."""
        import torch

        nothing = torch.empty(len(images), 0, device=images.device)
        for transform in self.batches.values():
            images = transform(images, nothing)
        return images if self.size is None else resized(images, self.size)

    def _read(self, image: Picture) -> Tensor:
        import numpy as np
        import torch
        from PIL import Image

        from hookline.data.decode import decode, pixels_of

        if isinstance(image, str | Path):
            return decode(Path(image).expanduser().read_bytes(), self.channels)
        if isinstance(image, np.ndarray | torch.Tensor) and 0 in image.shape:
            raise ValueError(f"an image must have pixels, and this one has the shape {list(image.shape)}")
        if isinstance(image, np.ndarray) and image.dtype == np.uint8 and _is_plane(image.shape):
            image = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image)
        if isinstance(image, Image.Image):
            return pixels_of(image, self.channels)
        if isinstance(image, torch.Tensor) and image.dtype == torch.uint8 and image.ndim == 3:
            if image.shape[0] == self.channels:
                return image
            if image.shape[0] in (1, 3):
                return pixels_of(Image.fromarray(image.permute(1, 2, 0).squeeze(2).cpu().numpy()), self.channels)
        raise TypeError(
            "an image must be a path, an image of Pillow's, an array of bytes [H, W] or [H, W, C] with 1, 3 or 4"
            f" channels, or a tensor of bytes [C, H, W], not {type(image).__name__}"
            + (f" {list(image.shape)} of {image.dtype}" if isinstance(image, np.ndarray | torch.Tensor) else "")
        )


def _is_plane(shape: tuple[int, ...]) -> bool:
    """Say whether an array of this shape is an image: grey, or with its 1, 3 or 4 channels last."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images `[B, C, H, W]` of floats in this height and width (bilinear, antialiased); as they are with it."""
    from torch.nn import functional as F

    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images.float(), size, mode="bilinear", antialias=True)


@dataclass
class Trained:
    """A model that was trained, and what came with it.

    Attributes:
        cfg: the run's own config, overrides applied; nothing in it fetches weights.
        run_dir: the run directory.
        checkpoint: the file that the weights are from.
        weights: which weights of the file they are, in words.
        model: in eval mode, on the device.
        classes: the names of the classes, in the order of the labels; classes.txt in the run directory may rename them.
        labels: the names that the training data gave them.
        transforms: from an image to what the model gets.
        device: where the model is.
        shape: channels, height and width of what the model gets.
        epoch: the finished epochs of the weights. iterations: the finished iterations.
        history: the run's rows of numbers until then.
    """

    cfg: DictConfig
    run_dir: Path
    checkpoint: Path
    weights: str
    model: nn.Module
    classes: list[str]
    labels: list[str]
    transforms: Transforms
    device: torch.device
    shape: tuple[int, int, int]
    epoch: int
    iterations: int
    history: list[dict[str, float]]

    @property
    def forward(self) -> Forward:
        """The forward pass in the run's number format: images `[B, C, H, W]` to logits `[B, classes]`."""
        from hookline.engine import Forward

        runner = self.cfg.runner
        with told_at("runner"):
            return Forward(self.model, precision=runner.precision, channels_last=runner.channels_last)

    def predict(self, images: Picture | Sequence[Picture], top_k: int = 5) -> list[Prediction]:
        """Return what the model says of each image.

        Args:
            images: one or several; see `Transforms.pixels`.
            top_k: how many classes are told of each.
        """
        import torch

        from hookline.analysis.predicting import top_of

        check_number("top_k", top_k, gt=0, integer=True)
        several: list[Any] = [images]
        if isinstance(images, list | tuple) or getattr(images, "ndim", 0) == 4:
            several = list(images)  # type: ignore[arg-type]
        found = []
        forward = self.forward
        for start in range(0, len(several), BATCH):
            batch = torch.stack([self.transforms(image) for image in several[start : start + BATCH]])
            for labels, probabilities in top_of(forward, batch.to(self.device), top_k):
                found.append(Prediction(tuple(self.classes[label] for label in labels), probabilities))
        return found


def load(
    run: str | Path,
    *,
    weights: str = "best",
    device: str = "auto",
    overrides: Sequence[str] = (),
    trust: Trust = False,
) -> Trained:
    """Open what a run has trained. Nothing is downloaded, no data are read, and no code of the run's is run.

    Args:
        run: a run directory, or one of its checkpoints.
        weights: `best`: the best epoch's (best.pt), the average where that decided; `last`: the newest; `ema`: the
            average of the weights in the newest checkpoint. Of a checkpoint that is named, `best` is what decided,
            `last` the weights themselves, and `ema` their average.
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.
        overrides: changes to the run's config, as on train.py's command line.
        trust: true: the config may name any class, of your own as well; a list of modules: those of these modules.

    Raises:
        ConfigError: there is no such run, its checkpoint is damaged or lacks what is asked for, or its config names
            what a stranger's must not.
    """
    from hookline.checkpoint import CheckpointError, read
    from hookline.engine.device import resolve_device

    check_trust(trust)
    with told_at(""):
        check_choice("weights", weights, WEIGHTS)
        place = resolve_device(device)
    run_dir, checkpoint = find_checkpoint(run, weights)
    try:
        content = read(checkpoint)
    except CheckpointError as error:
        raise ConfigError(f"run={run}: {error}") from error
    if not isinstance(content.get("config"), str) or not isinstance(content.get("parts"), Mapping):
        raise ConfigError(f"run={run}: {checkpoint} holds no config and no parts of a run")
    stored = read_config(content["config"], trust, str(checkpoint))
    cfg = changed(stored, overrides)
    if not OmegaConf.is_dict(cfg.get("model")) or not OmegaConf.is_dict(cfg.get("runner")):
        raise ConfigError(f"run={run}: the config in {checkpoint} has no model or no runner")
    with _told_as_damage(checkpoint):
        cfg.model = without_weights(OmegaConf.to_container(cfg.model, resolve=True))
        inputs = _inputs(content, cfg, run_dir, str(run))
        _settle(cfg, inputs)
        if trust:
            from hookline.config import local

            local.register()
        state, which = _state(content, weights, checkpoint)
        model = _built(cfg, inputs, state, checkpoint)
        # An override of the transforms has the last word on the size of the images.
        transforms = _transforms(cfg, inputs, own_size=_shaping(cfg) == _shaping(stored))
        clock = content["parts"].get("clock") or {}
        epoch, iterations = int(clock.get("epoch", 0)), int(clock.get("iter", 0))
        history = content["parts"].get("history") or {}
        rows = list((history.get("rows") if isinstance(history, Mapping) else None) or [])
    outputs = _outputs(cfg, inputs["classes"])
    return Trained(
        cfg=cfg,
        run_dir=run_dir,
        checkpoint=checkpoint,
        weights=which,
        model=model.to(place).eval(),
        classes=[*inputs["classes"], *(f"class {number}" for number in range(len(inputs["classes"]), outputs))],
        labels=inputs["labels"],
        transforms=transforms,
        device=place,
        shape=tuple(inputs["shape"]),
        epoch=epoch,
        iterations=iterations,
        history=rows,
    )


def find_checkpoint(run: str | Path, weights: str = "best") -> tuple[Path, Path]:
    """Return the run directory and the checkpoint file that a path and a choice of weights mean.

    Raises:
        ConfigError: there is no such run, or it has no such checkpoint.
    """
    from hookline.checkpoint import CheckpointFolder, is_checkpoint

    if not isinstance(run, str | Path) or not str(run):
        raise ConfigError(f"run={run}: must be a run directory or a checkpoint; give run=RUN_DIR")
    path = Path(run).expanduser()
    if is_checkpoint(path):
        return (path.parent.parent if path.parent.name == "checkpoints" else path.parent), path
    if not path.is_dir():
        raise ConfigError(f"run={run}: there is no such run directory or checkpoint")
    folder = path if path.name == "checkpoints" else path / "checkpoints"
    name = "best.pt" if weights == "best" else "last.pt"
    # Processes that write shards make one file of the newest ones at the end of their run only.
    if weights != "best" and (found := CheckpointFolder(folder).all()) and found[0].is_dir():
        return folder.parent, found[0]
    if (folder / name).is_file():
        return folder.parent, folder / name
    there = sorted(file.name for file in folder.glob("*.pt")) if folder.is_dir() else []
    if not there:
        raise ConfigError(f"run={run}: holds no checkpoint (checkpoints/*.pt), so there is nothing to open")
    raise ConfigError(f"run={run}: weights={weights} needs {folder / name}; there is {', '.join(there[:5])}")


def describe_inputs(source: Source, loader: SourceLoader, batch: Batch) -> dict[str, Any]:
    """Return what has to be known of the data to use a model without them; it becomes part of each checkpoint.

    The entries are `classes`; `channels` of an image as read; `shape`, `[C, H, W]`, of what the model gets; `mean` and
    `std` of the last normalisation, or none.

    Args:
        source: the validation images.
        loader: their loader.
        batch: one of its batches.
    """
    from hookline.data import Normalize

    normalize = [t for t in loader.transforms.values() if isinstance(t, Normalize)][-1:]
    return {
        "classes": [str(name) for name in source.classes],
        "channels": source.channels,
        "shape": list(batch.images.shape[1:]),
        "mean": [float(value) for value in normalize[0].mean] if normalize else None,
        "std": [float(value) for value in normalize[0].std] if normalize else None,
    }


def _inputs(content: Mapping[str, Any], cfg: DictConfig, run_dir: Path, run: str) -> dict[str, Any]:
    """Return what the checkpoint says of its inputs; of one that says nothing, what the run's data say."""
    found = content.get("inputs")
    if not isinstance(found, Mapping) or not found:
        found = _inputs_from_data(cfg, run)
    names = run_dir / CLASSES_FILE
    try:
        classes = [str(name) for name in found["classes"]]
        channels = found["channels"]
        inputs = {**found, "classes": classes, "labels": classes, "shape": [int(size) for size in found["shape"]]}
        if len(inputs["shape"]) != 3 or not classes or type(channels) is not int:
            raise ValueError("the shape is none of an image, or there are no classes")
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"run={run}: its checkpoint does not say what its model gets: {reason_of(error)}") from error
    if names.is_file() and not names.is_symlink():  # a link in a stranger's run may lead to any file
        # A file may have been edited, to give classes better names.
        lines = names.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        if len(lines) == len(classes):
            inputs["classes"] = lines
    # Names are printed, and to a terminal control characters are commands.
    inputs["classes"] = [CONTROL.sub(lambda found: repr(found[0])[1:-1], name) for name in inputs["classes"]]
    return inputs


@contextmanager
def _told_as_damage(checkpoint: Path) -> Iterator[None]:
    """Turn whatever a stored config's values lead to into one message about it."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{checkpoint}: its content is damaged: {reason_of(error)}") from error


def _inputs_from_data(cfg: DictConfig, run: str) -> dict[str, Any]:
    from hookline.experiment.augment import normalization
    from hookline.experiment.data import build_source, input_shape

    if OmegaConf.is_dict(cfg.get("data")) and "download" in cfg.data:
        cfg = cfg.copy()
        cfg.data.download = False
    try:
        source = build_source(cfg, "train")
        normalize = normalization(cfg, source)
        return {
            "classes": source.classes,
            "channels": source.channels,
            "shape": input_shape(cfg, source),
            "mean": list(normalize.mean),
            "std": list(normalize.std),
        }
    except ConfigError as error:
        raise ConfigError(
            f"run={run}: its checkpoint is of an earlier version, for which its data are needed ({error})"
        ) from error


def _state(content: Mapping[str, Any], weights: str, checkpoint: Path) -> tuple[dict[str, Tensor], str]:
    """Return the state dict that is wanted, and what it is in words."""
    from hookline.models.weight_files import averages_in, deciding_average

    averages = averages_in(content)
    name = None
    if weights == "ema":
        name = "hooks.ema" if "hooks.ema" in averages else next(iter(averages), None)
        if name is None:
            raise ConfigError(f"weights=ema: must be best or last: {checkpoint} holds no average of the weights")
    elif weights == "best":
        name = deciding_average(content, averages)
    state = averages[name] if name is not None else content["parts"].get("model")
    if not isinstance(state, Mapping) or not state:
        raise ConfigError(f"{checkpoint}: holds no weights of a model")
    return dict(state), f"the average {name.removeprefix('hooks.')}" if name is not None else "the weights"


def _built(cfg: DictConfig, inputs: Mapping[str, Any], state: Mapping[str, Tensor], checkpoint: Path) -> nn.Module:
    from hookline.models.build import build_model

    channels, height, _ = inputs["shape"]
    with told_at("model"):
        model = build_model(cfg.model, num_classes=len(inputs["classes"]), in_chans=channels, img_size=height)
    try:
        model.load_state_dict(state)
    except Exception as error:  # names, shapes and kinds that are not the model's
        raise ConfigError(
            f"{checkpoint}: its weights do not fit the model of its config: {reason_of(error)}"
        ) from error
    return model


def _settle(cfg: DictConfig, inputs: Mapping[str, Any]) -> None:
    """Put the run's normalisation into the config, and the model's own values where an override says `auto`.

    Whoever makes a loader of the config then needs no training images.
    """
    from hookline.data import Source
    from hookline.experiment.augment import resolve_augment

    if cfg.get("augment") is None:
        cfg.augment = {}
    for key in ("mean", "std"):
        if inputs.get(key) and cfg.augment.get(key) in (None, "auto"):
            cfg.augment[key] = list(inputs[key])
    resolve_augment(cfg, cast(Source, _Known(inputs)))


def _outputs(cfg: DictConfig, classes: Sequence[str]) -> int:
    given = cfg.model.get("num_classes")
    return given if isinstance(given, int) else len(classes)


def _shaping(cfg: DictConfig) -> list[Any]:
    """Return the parts of a config that say what size images have."""
    return [OmegaConf.select(cfg, key) for key in ("augment.val", "data.transforms")]


def _transforms(cfg: DictConfig, inputs: Mapping[str, Any], own_size: bool) -> Transforms:
    from hookline.data import Source
    from hookline.experiment.augment import build_augment
    from hookline.experiment.data import build_transforms, with_normalization

    _, batches = build_transforms(cfg)
    return Transforms(
        build_augment(cfg, "val"),
        with_normalization(cfg, batches, cast(Source, _Known(inputs))),
        inputs["channels"],
        tuple(inputs["shape"][1:]) if own_size else None,
    )


class _Known:
    """What transforms ask of the training images, from a checkpoint."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self.channels: int = inputs["channels"]
