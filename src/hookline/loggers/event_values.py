"""What an event file holds besides scalars: texts, histograms, pictures, and a run's settings for the tab HParams.

Each is the protocol buffer that TensorBoard's plugin of the same name reads.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_DOUBLE, DT_FLOAT, DT_STRING
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

RGBA = 4


def picture(tag: str, png: bytes) -> Summary.Value:
    """Return a PNG."""
    width, height = struct.unpack(">II", png[16:24])  # of the file's first chunk
    image = Summary.Image(encoded_image_string=png, height=height, width=width, colorspace=RGBA)
    return Summary.Value(tag=tag, image=image)


def text(tag: str, content: str) -> Summary.Value:
    """Return a text, which TensorBoard reads as Markdown."""
    tensor = TensorProto(dtype=DT_STRING, string_val=[content.encode("utf-8", "replace")], tensor_shape=_shape(1))
    return Summary.Value(tag=tag, tensor=tensor, metadata=_of_plugin("text"))


def histogram(tag: str, counts: Sequence[float], edges: Sequence[float]) -> Summary.Value:
    """Return a histogram: so many numbers lie between each edge and the next, and there is an edge more than counts."""
    buckets = zip(edges[:-1], edges[1:], counts, strict=True)
    values = [number for bucket in buckets for number in bucket]
    tensor = TensorProto(dtype=DT_DOUBLE, double_val=values, tensor_shape=_shape(len(counts), 3))
    return Summary.Value(tag=tag, tensor=tensor, metadata=_of_plugin("histograms"))


def session_start(settings: Mapping[str, bool | int | float | str], group: str) -> Summary.Value:
    """Return the settings of a run, which the tab HParams shows beside the last value of each of its scalars.

    Args:
        settings: by name.
        group: the name of the line in the tab's table.
    """
    info = SessionStartInfo(start_time_secs=time.time(), group_name=group)
    for name, value in settings.items():
        if isinstance(value, bool):
            info.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            info.hparams[name].number_value = value
        else:
            info.hparams[name].string_value = value
    return _hparams("session_start_info", HParamsPluginData(session_start_info=info))


def session_end(succeeded: bool) -> Summary.Value:
    """Return how a run ended, for the tab HParams."""
    status = Status.STATUS_SUCCESS if succeeded else Status.STATUS_FAILURE
    info = SessionEndInfo(status=status, end_time_secs=time.time())
    return _hparams("session_end_info", HParamsPluginData(session_end_info=info))


def _hparams(name: str, data: HParamsPluginData) -> Summary.Value:
    nothing = TensorProto(dtype=DT_FLOAT, float_val=[0.0], tensor_shape=_shape())
    metadata = _of_plugin("hparams", data.SerializeToString())
    return Summary.Value(tag=f"_hparams_/{name}", tensor=nothing, metadata=metadata)


def _of_plugin(name: str, content: bytes = b"") -> SummaryMetadata:
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=name, content=content))


def _shape(*sizes: int) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])
