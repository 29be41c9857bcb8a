"""What can be seen of a run's parts before it begins: everything is tried once, and nothing stays changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hookline.config.errors import ConfigError, ParameterError, reason_of, shown, text_of
from hookline.config.instantiate import parameter_error, told_at
from hookline.data.batch import Batch, shape_of
from hookline.data.loader import Loader
from hookline.engine.first_nonfinite import FirstNonFinite
from hookline.engine.forward import Forward, evaluating
from hookline.engine.processes import of_collective
from hookline.engine.unchanged import unchanged
from hookline.engine.update import Outputs, Update
from hookline.metrics import Metric
from hookline.models.unchanged import attributes_kept

log = logging.getLogger(__name__)

# How torch says that an operation cannot give the same bits each time.
UNREPEATABLE = " does not have a deterministic implementation"

# What torch and Triton say where something to compile with is missing, and what helps.
COMPILERS = {
    "InvalidCxxCompiler": "there is no C++ compiler here; install g++, or name one in the variable CXX",
    "Failed to find C compiler": "there is no C compiler here, which Triton needs; install gcc, or name one in CC",
    "working triton installation": "there is no Triton here; install the package triton",
    "too old to be supported by the triton": "this GPU is too old for Triton",
}


def try_out(
    update: Update, loader: Loader, batch_size: int, last: int, metrics: Mapping[str, Metric], val_batch: Batch
) -> list[str]:
    """Make an update and measure a small batch, so that what cannot work is told now; nothing stays changed.

    Args:
        update: what a batch does to the weights.
        loader: the training batches.
        batch_size: how many samples one has.
        last: how many the last one of an epoch has.
        metrics: what is measured, by name.
        val_batch: a small batch of validation.

    Returns:
        the names of the numbers that come of it, such as `train/loss` and `val/top1`.
    """
    with unchanged(update):
        with told_at("data.train_transforms"):
            batch = next(loader.batches(0))
        outputs = check_update(update, batch, batch_size, last)
        measured = check_metrics(update.forward, metrics, val_batch)
    seen, validated = _size(batch), _size(val_batch)
    if seen != validated:
        log.warning("data: training images are %s, those of validation %s", seen, validated)
    return [f"train/{name}" for name in outputs if name != "logits"] + [f"val/{name}" for name in measured]


def check_model(forward: Forward, loss: Any, batch: Batch, num_classes: int) -> int:
    """Return how many logits the model gives for each image.

    Args:
        forward: maps images to logits; its model is put into eval mode meanwhile.
        loss: maps logits and labels to a scalar.
        batch: some samples as the model will see them.
        num_classes: how many logits there have to be at least.

    Raises:
        ConfigError: they are too few, or the loss cannot be computed of them.
    """
    name = _name(forward.model)
    try:
        # No inference mode: a sharded model keeps the memory of its first pass for all others, gradients or not.
        with attributes_kept(forward.model.modules()), torch.no_grad(), evaluating(forward.model):
            logits = forward(batch.images)
    except Exception as error:  # whatever a model does with images that it is not made for
        _check_refused(error, forward)
        raise ConfigError(f"model: {name} cannot take the data's {_size(batch)} images: {reason_of(error)}") from error
    _check_logits(logits, name, batch, num_classes)
    try:
        with attributes_kept([loss]):
            loss(logits, batch.targets)
    except Exception as error:  # whatever a loss does with what it is not made for
        _check_refused(error, forward)
        raise ConfigError(f"loss: {type(loss).__name__} cannot be computed: {reason_of(error)}") from error
    return logits.shape[1]


def check_update(update: Update, batch: Batch, batch_size: int, last: int) -> Outputs:
    """Return what an update of this batch gives; one as small as the last of an epoch has to work, too.

    Args:
        update: what is tried; it is left as it was.
        batch: an epoch's first batch.
        batch_size: the size that the config asks for.
        last: how many samples the last batch has.

    Raises:
        ConfigError: an update fails, or gives a loss that is not finite; it names the part that is to blame.
    """

    def updated(part: Batch) -> Outputs:
        try:
            outputs = update(part)
        except ConfigError:
            raise
        except Exception as error:  # whatever any part of it does
            raise _blamed(error, update, part, batch_size, whole=part is batch) from error
        if not isinstance(outputs, Mapping) or not {"loss", "logits"} <= outputs.keys():
            raise ConfigError(f"update: {type(update).__name__} must return a dict with loss and logits")
        return outputs

    with unchanged(update):
        update.begin_epoch(0)
        trained = [p for group in update.optimizer.param_groups for p in group["params"]]
        before = [p.detach().clone() for p in trained]
        outputs = updated(batch)
        # Only this loss is looked at: after a step it may not be finite for the learning rate, and a few samples may
        # all be of classes without weight.
        _check_finite(outputs, update, batch, list(zip(trained, before, strict=True)))
        if not outputs.get("skipped") and all(map(torch.equal, before, trained)):
            _warn_of_no_step(update)
        with told_at("distributed"):
            update.parallel.check_gradients(update.model)
        if last < update.parallel.samples(batch):
            updated(update.parallel.as_small(batch, last))
        return outputs


def check_metrics(forward: Forward, metrics: Mapping[str, Metric], batch: Batch) -> list[str]:
    """Return the names of the numbers that the metrics, given by name, measure of a batch.

    Raises:
        ConfigError: one of them fails, or gives no numbers by name.
    """
    found: list[str] = []
    with torch.inference_mode(), evaluating(forward.model):
        logits = forward(batch.images)
        for name, metric in metrics.items():
            key = f"evaluation.metrics.{name}"
            with told_at(key):
                metric.reset()
                metric.update({"logits": logits}, batch)
                numbers = metric.compute()
                metric.reset()
            if not isinstance(numbers, Mapping) or not all(isinstance(v, int | float) for v in numbers.values()):
                raise ConfigError(f"{key}: {type(metric).__name__}.compute() must return a dict of numbers by name")
            found += map(str, numbers)
    return found


def _blamed(error: Exception, update: Update, batch: Batch, batch_size: int, *, whole: bool) -> ConfigError:
    """Return what to tell of an update that failed: its parts are tried one by one."""
    reason = reason_of(error)
    try:
        _check_refused(error, update.forward)
        if isinstance(error, torch.OutOfMemoryError):
            raise ParameterError("data.batch_size", batch_size, f"smaller: an update needs more memory ({reason})")
        failed_in = [frame.f_locals.get("self") for frame in _frames(error)]
        if update.parallel.in_step:  # a forward pass needs all processes, and others may not have failed
            _check_raised(error, failed_in, update, batch, batch_size, whole=whole)
        else:
            _check_alone(update, batch, batch_size, whole=whole)
        if any(isinstance(owner, Optimizer) for owner in failed_in):
            remedy = "; choose another one, or distributed=ddp" if update.parallel.sharded else ""
            raise ConfigError(f"optimizer: {type(update.optimizer).__name__} cannot make a step: {reason}{remedy}")
        if update.micro_batches > 1:
            raise ParameterError(
                "update.micro_batches", update.micro_batches, f"smaller for batches of {len(batch)}: {reason}"
            )
        raise ConfigError(f"update: {type(update).__name__} fails: {reason}")
    except ParameterError as wrong:
        return parameter_error("", wrong)
    except ConfigError as found:
        return found


def _check_alone(update: Update, batch: Batch, batch_size: int, *, whole: bool) -> None:
    """Raise `ConfigError` where model or loss fails by itself."""
    name = _name(update.model)
    try:
        logits = update.forward(batch.images)
    except Exception as cause:
        if _works(update.forward, batch):
            raise _wrong_size(cause, update, batch, batch_size, whole=whole) from cause
        told = f"model: {name} cannot be trained on the data's {_size(batch)} images: {reason_of(cause)}"
        raise ConfigError(told) from cause
    _check_logits(logits, name, batch, 1)
    with told_at("loss"):
        _check_loss(update.loss(logits, batch.targets), type(update.loss).__name__, update.model)


def _check_raised(
    error: Exception, failed_in: Sequence[object], update: Update, batch: Batch, batch_size: int, *, whole: bool
) -> None:
    """Raise `ConfigError` where model or loss is what the error comes from, as its trace shows."""
    if any(owner is update.model for owner in failed_in):
        if not whole:  # a larger one went through it before
            raise _wrong_size(error, update, batch, batch_size, whole=False)
        if update.micro_batches == 1:
            told = f"{_name(update.model)} cannot be trained on the data's {_size(batch)} images: {reason_of(error)}"
            raise ConfigError(f"model: {told}")
    elif any(owner is update.loss for owner in failed_in):
        raise ConfigError(f"loss: {type(update.loss).__name__} cannot be computed: {reason_of(error)}")


def _wrong_size(cause: Exception, update: Update, batch: Batch, batch_size: int, *, whole: bool) -> ParameterError:
    """Return what to tell of a model that fails for the number of samples."""
    samples = len(batch) if whole else update.parallel.samples(batch)
    many = f"{samples} sample{'s' * (samples != 1)}"
    which = "batches of" if whole else "the last batch of an epoch, which has"
    remedy = "larger" if whole else "another, or data.drop_last=true"
    told = f"{remedy}: {_name(update.model)} cannot be trained on {which} {many} ({reason_of(cause)})"
    return ParameterError("data.batch_size", batch_size, told)


def _name(model: torch.nn.Module) -> str:
    """Return the name of a model's class, without what torch puts before that of a sharded one."""
    return next(kind.__name__ for kind in type(model).__mro__ if not kind.__name__.startswith("FSDP"))


def _check_finite(outputs: Outputs, update: Update, batch: Batch, weights: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Raise `ConfigError` where something before the gradients is not finite, in the order in which it is computed.

    Args:
        outputs: of the update.
        update: what made them.
        batch: what they are of.
        weights: the parameters, each with what it was before the update.
    """
    # The loss is the whole batch's, so what it comes from may be in another process's share.
    parts = batch.images, torch.as_tensor(outputs["logits"])
    images_wrong, logits_wrong = update.parallel.processes.any(*(not bool(part.isfinite().all()) for part in parts))
    if images_wrong:
        raise ConfigError("data.train_transforms: the training images hold numbers that are not finite")
    if logits_wrong:
        name, precision = _name(update.model), update.forward.precision
        told = f"model: {name} gives logits that are not finite for the data's {_size(batch)} images, in {precision}"
        if update.parallel.in_step:  # a forward pass needs all processes, and others may have finite logits
            raise ConfigError(told)
        with FirstNonFinite(update.model) as finder, torch.no_grad():
            for parameter, kept in weights:
                parameter.copy_(kept)
            update.forward(batch.images)
        raise ConfigError(f"{told}; the first of them are in {finder.found}" if finder.found else told)
    loss = torch.as_tensor(outputs["loss"]).detach()
    if not loss.isfinite().all():
        raise ConfigError(f"loss: {type(update.loss).__name__} is {loss.mean():g} for a batch whose logits are finite")


def _warn_of_no_step(update: Update) -> None:
    rates = [group.get("lr", 1.0) for group in update.optimizer.param_groups]
    if any(rates):
        log.warning(
            "optimizer: the first update changes no parameter, with %s and a learning rate of %g",
            type(update.optimizer).__name__,
            max(rates),
        )


def _check_logits(logits: object, name: str, batch: Batch, num_classes: int) -> None:
    if isinstance(logits, Tensor) and logits.ndim == 2 and logits.shape[1] >= num_classes:
        return
    found = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    aux = "" if isinstance(logits, Tensor) else "; one with further heads may have an argument such as aux_logits=false"
    wanted = f"({len(batch)}, {num_classes})" if num_classes > 1 else f"({len(batch)}, classes)"
    classes = f" of {num_classes} classes" if num_classes > 1 else ""
    raise ConfigError(
        f"model: {name} must return logits of shape {wanted} for {len(batch)} images{classes}, but returned"
        f" {found}{aux}"
    )


def _check_loss(loss: object, name: str, model: torch.nn.Module) -> None:
    expected = "one number that can be differentiated, the mean over the batch"
    if not isinstance(loss, Tensor):
        raise ConfigError(f"loss: {name} must return {expected}, but returned a {type(loss).__name__}")
    if loss.ndim:
        raise ConfigError(f"loss: {name} must return {expected}, but returned numbers of shape {tuple(loss.shape)}")
    if not loss.requires_grad:
        raise ConfigError(f"loss: {name} must return {expected}, but does not depend on the logits")
    # Into no parameter's `grad`, where several processes would begin to sum it.
    torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True)


def _works(forward: Forward, batch: Batch) -> bool:
    """Say whether the model takes the batch when it is twice as large."""
    try:
        forward(torch.cat([batch.images, batch.images]))
    except Exception:
        return False
    return True


def _check_refused(error: Exception, forward: Forward) -> None:
    """Raise `ConfigError` where it is not the model that fails but what `runner` asks for: to compile, to be exact.

    An error of a collective call is raised as it is: its cause is in another process.
    """
    if of_collective(error):
        raise error
    whole = text_of(error)
    text = " ".join(whole.split("\n\n")[0].split())
    if UNREPEATABLE in text:
        operation = text.partition(UNREPEATABLE)[0].rpartition(" ")[2]
        raise ConfigError(
            f"runner.deterministic=true: {operation} has no deterministic implementation on {forward.device.type};"
            " choose a model and a loss without it, or runner.deterministic=false"
        ) from error
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor", "triton")):
        key = f"runner.compile={shown(forward.compile)}"
        for lacking, remedy in COMPILERS.items():
            if lacking in whole:
                raise ConfigError(f"{key}: {remedy}, or choose runner.compile=false") from error
        raise ConfigError(f"{key}: the model cannot be compiled here: {text}") from error


def _frames(error: BaseException) -> list[Any]:
    frames, here = [], error.__traceback__
    while here is not None:
        frames.append(here.tb_frame)
        here = here.tb_next
    return frames


def _size(batch: Batch) -> str:
    return shape_of(batch.images.shape[1:])
