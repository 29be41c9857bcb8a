"""Event files are what TensorBoard reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tests.conftest import ROOT

from hookline.loggers.event_file import EventFile, checksum


def events(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Return step and scalars of each event in the only file of a folder, but for the two that begin it."""
    (file,) = folder.iterdir()
    first, start, *rest = EventFileLoader(str(file)).Load()
    assert first.file_version == "brain.Event:2"
    assert start.session_log.status == start.session_log.START
    return [(event.step, {v.tag: v.tensor.float_val[0] for v in event.summary.value}) for event in rest]


@pytest.mark.parametrize("content", [b"", b"a", b"123456789", bytes(range(256)) * 3])
def test_checksum_is_tensorboards(content: bytes) -> None:
    assert checksum(content) == masked_crc32c(content)


def test_every_event_keeps_its_own_tags_values_and_step(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "tensorboard")
    written = [
        (0, {"a": 0.5, "b/ä": 2.0}),
        (1, {"a": 1.5, "b/ä": 0.0}),
        (1, {"val": 3.0}),
        (9, {"a": -1.0, "b/ä": 4.0}),
    ]
    for step, scalars in written:
        file.write(scalars, step)
    file.close()
    assert events(tmp_path / "tensorboard") == written


def test_what_is_flushed_can_be_read_while_the_file_is_open(tmp_path: Path) -> None:
    file = EventFile(tmp_path, flush_seconds=1000)
    file.write({"a": 1.0}, 0)
    assert events(tmp_path) == []
    file.flush()
    assert events(tmp_path) == [(0, {"a": 1.0})]
    file.close()


def test_a_file_that_was_deleted_is_told(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "tensorboard")
    file.path.unlink()
    file.write({"a": 1.0}, 0)
    with pytest.raises(OSError, match="the file was deleted"):
        file.flush()
    file.close()


def test_an_event_after_the_time_between_flushes_reaches_the_disk(tmp_path: Path) -> None:
    file = EventFile(tmp_path, flush_seconds=0)
    file.write({"a": 1.0}, 0)
    assert len(events(tmp_path)) == 1
    file.close()


def test_two_files_in_one_folder(tmp_path: Path) -> None:
    for _ in range(2):
        EventFile(tmp_path).close()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_nobody_closed_is_whole(tmp_path: Path) -> None:
    file = EventFile(tmp_path, flush_seconds=1000)
    file.write({"a": 1.0}, 0)
    del file
    assert events(tmp_path) == [(0, {"a": 1.0})]


def test_a_file_is_whole_after_an_error_has_ended_the_process(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from hookline.loggers.event_file import EventFile\n"
        f"file = EventFile(Path({str(tmp_path)!r}), flush_seconds=1000); file.write({{'a': 1.0}}, 0); 1 / 0"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True, check=False)
    assert "ZeroDivisionError" in ended.stderr
    assert events(tmp_path) == [(0, {"a": 1.0})]
