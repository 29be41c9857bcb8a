"""The formats of an export."""

from __future__ import annotations

import copy
import io
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hookline.analysis.export import Format, Logits, Normalized, Subject
from hookline.config.errors import ParameterError, reason_of
from hookline.config.packages import need

INPUT, OUTPUT, BATCH = "images", "logits", "batch"
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class Graph(Format):
    """A format that holds what the model computes, so that it needs neither timm nor the model's code."""

    name: str

    def traced(self, subject: Subject) -> torch.export.ExportedProgram:
        """Return the model's graph."""
        shapes = {0: torch.export.Dim(BATCH)} if subject.batch_size is None else None
        try:
            with _silent(), torch.no_grad():
                return torch.export.export(subject.model, (subject.example,), dynamic_shapes=(shapes,))
        except Exception as error:  # whatever a model does that depends on its numbers
            raise _not_taken(self.name, error) from error


class ONNX(Graph):
    """`model.onnx`, by torch's exporter; onnxruntime runs it."""

    name = "onnx"

    def check(self, subject: Subject) -> None:
        need(f"format={self.name}", "onnx", *ONNX_PACKAGES)

    def write(self, folder: Path, subject: Subject) -> None:
        traced = self.traced(subject)
        try:
            with _silent():
                program: Any = torch.onnx.export(
                    traced,
                    (),
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    # The graph has a name of its own for the number of images, another one each time.
                    dynamic_shapes=({0: BATCH},) if subject.batch_size is None else None,
                    dynamo=True,
                    verbose=False,
                )
                program.model.metadata_props.update(_texts(subject.about))
                program.save(folder / "model.onnx", external_data=False)
        except OSError:  # such as a full disk
            raise
        except Exception as error:  # an operation that ONNX has no word for
            raise _not_taken(self.name, error) from error

    def open(self, folder: Path, subject: Subject) -> Logits:
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])


class TorchExport(Graph):
    """`model.pt2`, which `torch.export.load` opens."""

    name = "torch_export"

    def write(self, folder: Path, subject: Subject) -> None:
        texts = {f"{key}.json": json.dumps(value) for key, value in subject.about.items()}
        content = io.BytesIO()  # torch's own writer does not say what is wrong with a disk
        torch.export.save(self.traced(subject), content, extra_files=texts)
        (folder / "model.pt2").write_bytes(content.getbuffer())

    def open(self, folder: Path, subject: Subject) -> Logits:
        program: Any = torch.export.load(folder / "model.pt2").module()
        return lambda images: program(images)


class Safetensors(Format):
    """`model.safetensors`: the weights by their names in the model."""

    def check(self, subject: Subject) -> None:
        _check_no_normalization("safetensors", subject)

    def write(self, folder: Path, subject: Subject) -> None:
        from safetensors.torch import save_model

        with _system_errors():
            save_model(subject.model, str(folder / "model.safetensors"), metadata=_texts(subject.about))

    def open(self, folder: Path, subject: Subject) -> Logits:
        from safetensors.torch import load_model

        model = copy.deepcopy(subject.model)
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.zero_()
        load_model(model, folder / "model.safetensors")
        return lambda images: model(images)


class Timm(Format):
    """`config.json` and `model.safetensors`, which `timm.create_model("local-dir:FOLDER", pretrained=True)` opens."""

    def check(self, subject: Subject) -> None:
        _check_no_normalization("timm", subject)
        if not getattr(subject.model, "pretrained_cfg", None):
            raise ParameterError("format", "timm", "onnx, torch_export or safetensors: the model is none of timm's")

    def write(self, folder: Path, subject: Subject) -> None:
        from timm.models import save_for_hf

        # What timm's own weights were called, and their licence, is not true of these.
        about: dict[str, Any] = {"pretrained_cfg": {"tag": "", "license": None}}
        if "classes" in subject.about:
            about["label_names"] = subject.about["classes"]
        try:
            with _system_errors():
                save_for_hf(
                    subject.model,
                    str(folder),
                    model_config=about,
                    safe_serialization=True,
                    data_config=subject.preprocessing,
                )
        except ValueError as error:  # such as an argument of the model that JSON has no word for
            raise _not_taken("timm", error) from error

    def open(self, folder: Path, subject: Subject) -> Logits:
        import timm

        with _silent():
            model: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        return lambda images: model(images)


FORMATS: dict[str, Format] = {
    "onnx": ONNX(),
    "torch_export": TorchExport(),
    "safetensors": Safetensors(),
    "timm": Timm(),
}
GRAPHS = tuple(name for name, format in FORMATS.items() if isinstance(format, Graph))


def _texts(about: dict[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}


def _check_no_normalization(name: str, subject: Subject) -> None:
    if isinstance(subject.model, Normalized):
        wanted = f"false with format={name}, which holds weights and no graph; mean and std stand beside them"
        raise ParameterError("normalize", True, wanted)


def _not_taken(name: str, error: Exception) -> ParameterError:
    reason = reason_of(error).rstrip(".")
    return ParameterError("format", name, f"another one: this model cannot be written so ({reason})")


@contextmanager
def _system_errors() -> Iterator[None]:
    """Raise as `OSError` what the system says to safetensors, such as that a disk is full."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        if (number := re.search(r"os error (\d+)", str(error))) is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Keep to itself what the exporter says while it works."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
