"""The model itself for the sinks: its graph, and histograms of weights and gradients."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from hookline.config.checks import check_bool, check_number
from hookline.config.errors import reason_of
from hookline.engine import Hook, Priority, Runner
from hookline.engine.forward import evaluating
from hookline.loggers.graph import graph_of
from hookline.loggers.sinks import Sinks

log = logging.getLogger(__name__)

BINS = 30


class LogModelHook(Hook):
    """Hand the model's graph to the sinks before the first update, and histograms at the end of epochs.

    Args:
        sinks: those of the run.
        histograms: epochs between histograms of each parameter, and of its gradient in the epoch's last update; None
            for none.
        graph: whether the graph is traced.
    """

    priority = Priority.VERY_LOW
    watches = True
    first_only = True

    def __init__(self, sinks: Sinks, histograms: int | None = None, graph: bool = False) -> None:
        if histograms is not None:
            check_number("histograms", histograms, gt=0, integer=True)
        check_bool("graph", graph)
        self.sinks = sinks
        self.histograms = histograms
        self.graph = graph

    def before_train_iter(self, runner: Runner) -> None:
        if not self.graph or runner.clock.iter:
            return
        images = runner.batch.images[:1]
        try:
            with evaluating(runner.model), torch.random.fork_rng(devices=[]):
                definition = graph_of(runner.model, images)
        except Exception as error:  # whatever a model does that cannot be traced
            log.warning("logger.graph: the model cannot be traced: %s", reason_of(error))
            return
        self.sinks.each(lambda sink: sink.graph(definition))

    def after_train_epoch(self, runner: Runner) -> None:
        if self.histograms is None or (runner.clock.epoch + 1) % self.histograms:
            return
        for name, parameter in runner.model.named_parameters():
            self._hand_over(f"weights/{name}", parameter, runner.clock.iter - 1)
            if parameter.grad is not None:
                self._hand_over(f"gradients/{name}", parameter.grad, runner.clock.iter - 1)

    def _hand_over(self, name: str, tensor: Tensor, step: int) -> None:
        values = tensor.detach().float().flatten().cpu()
        values = values[values.isfinite()]
        if not len(values):
            return
        counts, edges = torch.histogram(values, BINS)
        self.sinks.each(lambda sink: sink.histogram(name, counts.tolist(), edges.tolist(), step))
