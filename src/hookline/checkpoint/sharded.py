"""Checkpoints of several processes, each of which writes its parts of the tensors."""

from __future__ import annotations

import pickle
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed import checkpoint
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter, metadata
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from hookline.checkpoint.files import STATE, CheckpointError, checksum, sync_folder, write

# Reading needs no other process, which torch remarks each time.
warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")

# Stands in the state for a tensor whose parts lie beside it.
MARK = "hookline.shards"

# What torch's list of the parts is made of, besides data formats.
NAMES = {
    *(("torch", "Size"), ("torch.serialization", "_get_layout"), ("collections", "OrderedDict")),
    *(("torch.distributed.checkpoint.filesystem", "_StorageInfo"), ("pathlib", "PosixPath")),
}
MODULES = {metadata.__name__, *(module for module, _ in NAMES)}


class ShardWriter:
    """Writes what several processes have together; every call is a collective one.

    A checkpoint is a directory, which all of them have to see: torch.distributed.checkpoint writes the parts into a
    folder of their own in it, then the first process writes `state.pt`, which names that folder and says what its files
    have for checksums. So there is the old state or the new one at any moment, whole.

    It has a process group of its own, so that it can write in a thread while training goes on.

    Args:
        first: whether this process writes what is in no parts.
    """

    def __init__(self, first: bool) -> None:
        self.first = first
        group = dist.new_group(backend="gloo")
        assert isinstance(group, dist.ProcessGroup)
        self.group = group
        self._mesh = DeviceMesh.from_group(self.group, "cpu")

    def content(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `write` takes of a state: the parts, and all else, with marks where the parts belong."""
        layouts: dict[str, Any] = {}
        rest = _without_parts(state, "", layouts)
        parts = {name: value.to_local() for name, value in layouts.items()}
        return {"rest": rest, "parts": parts, "layouts": _Layouts(layouts)}

    def write(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write a checkpoint into the directory `path`.

        Args:
            path: the directory; what it holds is replaced.
            content: see `content`; its tensors lie on the CPU.

        Raises:
            RuntimeError: any of the processes could not write.
        """
        parts = {}
        for name, layout in content["layouts"].named.items():
            local = content["parts"][name]
            shape, stride = layout.shape, layout.stride()
            parts[name] = DTensor.from_local(
                local, self._mesh, layout.placements, run_check=False, shape=shape, stride=stride
            )
        folder = self._together(lambda: _new_folder(path))
        try:
            checkpoint.save(parts, storage_writer=FileSystemWriter(path / folder), process_group=self.group)
        except CheckpointException as error:  # all processes raise it, and it is no Exception
            reasons = [f"process {rank}: {failure[0]}" for rank, failure in sorted(error.failures.items())]
            raise RuntimeError("; ".join(reasons)) from error
        self._together(lambda: _finish(path, folder, content["rest"]))

    def _together(self, act: Callable[[], Any]) -> Any:
        """Return what the first process gives, or raise what it raises, in all of them."""
        given: list[Any] = [None, None]
        if self.first:
            try:
                given[0] = act()
            except Exception as error:  # the others must not wait for what does not come
                given[1] = f"{type(error).__name__}: {error}"
        dist.broadcast_object_list(given, group=self.group, group_src=0)
        if given[1] is not None:
            raise RuntimeError(given[1])
        return given[0]


class _Layouts:
    """The tensors by name, for their layout alone."""

    def __init__(self, named: dict[str, Any]) -> None:
        self.named = named


def with_shards(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `ShardWriter.write` wrote, each tensor whole and on the CPU; no code in the files is run.

    Args:
        path: the checkpoint's directory.
        content: of its `state.pt`.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    listed, state = content.get("shards"), content.get("state")
    if not isinstance(listed, Mapping) or not isinstance(state, Mapping):
        raise CheckpointError(f"{path}: is no checkpoint of several processes")
    folder = path / Path(str(listed["folder"])).name
    for name, expected in listed["checksums"].items():
        file = folder / Path(name).name
        try:
            found = checksum(file)
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read: {error.strerror or error}") from error
        if found != expected:
            raise CheckpointError(f"{file}: is damaged: its checksum is not the one that it was written with")
    try:
        reader = _Reader(folder)
        tensors = {
            name: torch.empty(kept.size, dtype=kept.properties.dtype)
            for name, kept in reader.read_metadata().state_dict_metadata.items()
            if isinstance(kept, metadata.TensorStorageMetadata)
        }
        checkpoint.load(tensors, storage_reader=reader, no_dist=True)
        whole: dict[str, Any] = _with_parts(state, tensors)
    except Exception as error:  # whatever torch raises for files that are not what they seem
        raise CheckpointError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    return whole


def _new_folder(path: Path) -> str:
    """Make a folder for the parts, and return its name."""
    number = 1
    while (path / f"shards{number}").exists():
        number += 1
    (path / f"shards{number}").mkdir(parents=True)
    sync_folder(path.parent)
    return f"shards{number}"


def _finish(path: Path, folder: str, rest: Mapping[str, Any]) -> None:
    """Make the parts in a folder the checkpoint's, and remove earlier ones."""
    sync_folder(path / folder)
    checksums = {file.name: checksum(file) for file in sorted((path / folder).iterdir())}
    write(path / STATE, {"shards": {"folder": folder, "checksums": checksums}, "state": rest})
    for other in path.glob("shards*"):
        if other.name != folder:
            shutil.rmtree(other, ignore_errors=True)


def _without_parts(value: Any, place: str, found: dict[str, Any]) -> Any:
    if hasattr(value, "full_tensor"):
        found[place] = value.detach()
        return {MARK: place}
    if isinstance(value, Mapping):
        return {key: _without_parts(child, f"{place}/{key}", found) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_parts(child, f"{place}/{i}", found) for i, child in enumerate(value))
    return value


def _with_parts(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, Mapping):
        if MARK in value:
            return tensors[value[MARK]]
        return {key: _with_parts(child, tensors) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_with_parts(child, tensors) for child in value)
    return value


class _Unpickler(pickle.Unpickler):
    """Reads torch's list of the parts, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name) if module in MODULES and "." not in name else None
        data = module == metadata.__name__ and getattr(found, "__module__", "") == module
        if data or (module, name) in NAMES or isinstance(found, torch.dtype):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a list of parts")


class _Reader(FileSystemReader):
    """Torch's reader, which takes the list of the parts for a stranger's."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> metadata.Metadata:
        with (Path(self.path) / ".metadata").open("rb") as file:
            found: metadata.Metadata = _Unpickler(file).load()
        found.storage_meta = found.storage_meta or metadata.StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found
