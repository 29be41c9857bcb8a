"""What lies where in a tar file, noted once in a file, so that any member can be read at once."""

from __future__ import annotations

import json
import logging
import os
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hookline.config.errors import ConfigError, reason_of
from hookline.config.files import replacing
from hookline.data.files import image_suffixes

log = logging.getLogger(__name__)

# Of the index's format: an index of another one is made anew.
VERSION = 2
LABELS = (".cls", ".json")


@dataclass
class TarIndex:
    """The images of a tar file, in their order.

    Attributes:
        names: the members' names.
        labels: the label of each: in a WebDataset what stands in the sample's `.cls`, or in its `.json` under `label`
            or `cls`; in any other tar file the name of the folder that the image lies in.
        offsets: where each begins.
        sizes: how many bytes each has.
    """

    names: list[str]
    labels: list[str]
    offsets: list[int]
    sizes: list[int]

    def __post_init__(self) -> None:
        columns = ((self.names, str), (self.labels, str), (self.offsets, int), (self.sizes, int))
        for column, kind in columns:
            whole = isinstance(column, list) and len(column) == len(self.names)
            if not whole or not all(type(value) is kind for value in column):
                raise ValueError("this is no index of a tar file")


def tar_index(tar: Path, folder: Path | None = None) -> TarIndex:
    """Return the index of a tar file; it is read from the file made earlier, or made and written.

    The file is written whole or not at all, and two runs that make it at once write the same. It is made anew where the
    tar file's size or time has changed.

    Args:
        tar: the tar file.
        folder: where the index is kept; by default beside the tar file.

    Raises:
        ConfigError: the tar file is compressed, truncated or not one; a sample has no label; or the index cannot be
            written.
    """
    stat = tar.stat()
    key = {"version": VERSION, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    path = _place(tar, folder)
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        if {name: content.pop(name, None) for name in key} == key:
            return TarIndex(**content)
    except (OSError, ValueError, TypeError, AttributeError):  # there is none yet, or something else has its name
        pass
    log.info("indexing %s", tar)
    index = make_index(tar)
    try:
        with replacing(path) as beside:
            beside.write_text(json.dumps({**key, **asdict(index)}))
    except OSError as error:
        raise ConfigError(
            f"data.index_dir: the index of {tar} cannot be written: {reason_of(error)}; give a folder for it,"
            " data.index_dir=FOLDER"
        ) from error
    return index


def make_index(tar: Path) -> TarIndex:
    """Return the index of a tar file, from reading the headers of all members."""
    try:
        members = list(_members(tar))
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise ConfigError(
            f"data.root: {tar} cannot be read as a tar file that is not compressed: {reason_of(error)}"
        ) from error
    suffixes = image_suffixes()
    images = [member for member in members if os.path.splitext(member[0])[1].lower() in suffixes]
    labels_at = {os.path.splitext(name)[0]: (offset, size) for name, offset, size in members if name.endswith(LABELS)}
    labels = []
    with tar.open("rb") as file:
        for name, _, _ in images:
            folder, base = os.path.split(name)
            sample = os.path.join(folder, base.partition(".")[0])
            if labels_at:
                labels.append(_label_of(file, labels_at.get(sample), tar, name))
            elif os.path.basename(folder) in ("", os.pardir):
                raise ConfigError(f"data.root: {tar}: {name} lies in no folder and has no .cls or .json, so no label")
            else:
                labels.append(os.path.basename(folder))
    return TarIndex([m[0] for m in images], labels, [m[1] for m in images], [m[2] for m in images])


def _members(tar: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset and size of each file; hidden ones are left out."""
    with tarfile.open(tar, "r:") as file:
        for member in file:
            if member.isfile() and not os.path.basename(member.name).startswith("."):
                yield os.path.normpath(member.name), member.offset_data, member.size
        end = file.offset
    # A tar file ends with blocks of zeros; for Python's tarfile it ends at anything that is no header, too.
    with tar.open("rb") as content:
        content.seek(end)
        block = content.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise EOFError("it is truncated: the end of the archive is missing")
    if any(block):
        raise ValueError(f"it is damaged: what stands at byte {end} is neither a header nor the end of the archive")


def _label_of(file: Any, where: tuple[int, int] | None, tar: Path, name: str) -> str:
    content = b""
    if where is not None:
        file.seek(where[0])
        content = file.read(where[1]).strip()
    try:
        if content.startswith(b"{"):
            fields = json.loads(content)
            label = fields["label"] if "label" in fields else fields["cls"]
            if type(label) in (int, str) and label != "":
                return str(label)
        elif content:
            return content.decode()
    except (ValueError, LookupError):
        pass
    raise ConfigError(
        f"data.root: {tar} has no label (.cls, or .json with label or cls) of {name}: a whole number or a text"
    )


def _place(tar: Path, folder: Path | None) -> Path:
    if folder is None:
        return tar.with_name(f"{tar.name}.index.json")
    # Shards of different data sets often have the same names.
    code = blake2b(os.fsencode(tar.resolve()), digest_size=6).hexdigest()
    return folder / f"{tar.stem}-{code}.index.json"
