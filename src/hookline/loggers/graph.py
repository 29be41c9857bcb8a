"""A model's graph, as TensorBoard shows it."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor, nn


def graph_of(model: nn.Module, images: Tensor) -> bytes:
    """Return the graph of the model's forward pass for these images, a `GraphDef`, serialised.

    torch traces the model for it (`SummaryWriter.add_graph`), and whatever that raises is raised.
    """
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    from torch.utils.tensorboard import SummaryWriter

    with TemporaryDirectory() as folder:
        with warnings.catch_warnings(), SummaryWriter(folder) as writer:
            warnings.simplefilter("ignore")  # of what a trace leaves out, such as branches
            writer.add_graph(model, images, verbose=False, use_strict_trace=False)
        (path,) = Path(folder).iterdir()
        events = LegacyEventFileLoader(str(path)).Load()
        return next(bytes(event.graph_def) for event in events if event.HasField("graph_def"))
