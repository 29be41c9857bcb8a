"""Every image of a data set, read: what is broken, how it is spread, and what is there twice."""

from __future__ import annotations

import csv
import logging
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from hookline.analysis.data_check import Sample, read_all, rows_of, summary_of, told
from hookline.config.checks import check_number
from hookline.config.errors import ParameterError
from hookline.config.files import replacing, write_json
from hookline.config.instantiate import to_plain, told_at
from hookline.data.source import SPLITS
from hookline.experiment import build_source, require
from hookline.loggers.console import shown

log = logging.getLogger(__name__)

BROKEN = 1


def check_data(cfg: DictConfig) -> None:
    """Write `check_data.json` and `samples.csv`, tell what they say, and exit with 1 if an image cannot be read."""
    require(cfg, "data")
    check = to_plain(cfg.check, "check")
    with told_at("check"):
        wanted = check["splits"]
        words = list(map(str, wanted)) if isinstance(wanted, list) else []
        if not words or sorted(words) != sorted(set(words) & set(SPLITS)):
            raise ParameterError("splits", wanted, f"a list of some of {', '.join(SPLITS)}, each once")
        check_number("near_empty", check["near_empty"], ge=0, integer=True)
        if check["threads"] is not None:
            check_number("threads", check["threads"], gt=0, integer=True)
    sources = {split: build_source(cfg, split) for split in SPLITS if split in wanted}
    for source in sources.values():
        source.check()
    samples = {split: read_all(source, check["threads"]) for split, source in sources.items()}
    classes = next(iter(sources.values())).classes
    summary = summary_of(samples, classes, check["near_empty"])
    out = Path(HydraConfig.get().runtime.output_dir)
    write_json(out / "check_data.json", summary)
    write_samples(out / "samples.csv", samples)
    for line in told(summary, check["near_empty"]):
        log.info(line)
    log.info("check_data.json, samples.csv: %s", shown(out))
    if not summary["ok"]:
        sys.exit(BROKEN)


def write_samples(path: Path, samples: dict[str, list[Sample]]) -> None:
    """Write a row for each sample."""
    rows = rows_of(samples)
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
