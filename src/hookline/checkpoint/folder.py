"""The checkpoints of a run: which there are, which is newest, which go."""

from __future__ import annotations

import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

from hookline.checkpoint.files import CheckpointError, is_checkpoint, read, remove, write

log = logging.getLogger(__name__)

_NAME = re.compile(r"iter_(\d+)\.(?:pt|dcp)")


class CheckpointFolder:
    """The folder `checkpoints` of a run directory.

    It holds `iter_<finished iterations>.pt`, and two links: `last.pt` to the newest of them and `best.pt` to the best,
    which outlives the file that it was made from. Where each process writes its parts, `iter_<finished iterations>.dcp`
    are directories, and `last.pt` and `best.pt` are files that hold all that is in them.

    Args:
        folder: is made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, iterations: int, *, sharded: bool = False) -> Path:
        """Return where the checkpoint after so many iterations lies."""
        return self.folder / f"iter_{iterations:08d}.{'dcp' if sharded else 'pt'}"

    def all(self) -> list[Path]:
        """Return the checkpoints, the newest first."""
        if not self.folder.is_dir():
            return []
        return [path for _, path in sorted(self._named(), reverse=True) if is_checkpoint(path)]

    def _named(self) -> list[tuple[int, Path]]:
        """Return all that has a checkpoint's name, with its number of iterations."""
        return [(int(match[1]), path) for path in self.folder.iterdir() if (match := _NAME.fullmatch(path.name))]

    def newest(self) -> tuple[Path, dict[str, Any]] | None:
        """Return the newest good checkpoint and what it holds; a damaged one is named and passed over.

        None if there is none at all.

        Raises:
            CheckpointError: there are checkpoints, and all of them are damaged.
        """
        candidates = self.all()
        candidates += [p for name in ("last.pt", "best.pt") if (p := self.folder / name).is_file()]
        problems = []
        for path in candidates:
            try:
                return path, read(path)
            except CheckpointError as error:
                problems.append(str(error))
                log.warning("%s; taking the next newest", error)
        if problems:
            raise CheckpointError(f"{self.folder}: holds no checkpoint that can be read ({problems[0]})")
        return None

    def link(self, name: str, path: Path) -> None:
        """Make `name` a link to a checkpoint, in one step; a copy where the file system has no links.

        Of a directory it becomes one file with all that is in it.
        """
        if path.is_dir():
            write(self.folder / name, read(path))
            return
        beside = self.folder / f".{name}.{os.getpid()}"
        beside.unlink(missing_ok=True)
        try:
            os.link(path, beside)
        except OSError:
            shutil.copyfile(path, beside)
        os.replace(beside, self.folder / name)
        beside.unlink(missing_ok=True)  # renaming one link to a file over another leaves both

    def prune(self, keep: int) -> None:
        """Remove all but the newest `keep` checkpoints; -1 keeps all."""
        if keep >= 0:
            for path in self.all()[max(1, keep) :]:
                remove(path)

    def cut_back(self, iterations: int) -> None:
        """Remove the checkpoints after so many iterations, for a run that goes on from there.

        `last.pt` becomes the newest that is left; a `best.pt` from later goes.
        """
        later = [path for path in self.all() if path.stem > self.path(iterations).stem]
        for path in later:
            remove(path)
        if later and (left := self.all()):
            self.link("last.pt", left[0])
        best = self.folder / "best.pt"
        if later and best.is_file():
            try:
                if read(best)["parts"]["clock"]["iter"] > iterations:
                    best.unlink()
                    log.warning("%s was of later than iteration %d and is gone", best, iterations)
            except CheckpointError as error:
                log.warning("%s", error)

    def sweep(self) -> None:
        """Remove what an interrupted write left."""
        if self.folder.is_dir():
            for path in self.folder.glob(".*.pt.*"):
                path.unlink(missing_ok=True)
            for _, path in self._named():
                if not is_checkpoint(path):
                    remove(path)
