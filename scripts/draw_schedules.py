"""Draw the pictures of docs/schedules.md: every schedule that the page names, with the overrides that it names.

python scripts/draw_schedules.py
"""

import re
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from hydra import compose, initialize_config_dir

from hookline.analysis.preview import compute
from hookline.charts.lr_curve import draw_lr_curve
from hookline.config import resolvers
from hookline.schedules import Clock

ROOT = Path(__file__).resolve().parents[1]
RUN = Clock.for_run(25, max_epochs=20)


def draw(picture: Path, overrides: list[str]) -> None:
    """Draw what `overrides` make of a run of 20 epochs from a learning rate of 0.1 and a momentum of 0.9."""
    cfg = compose("plot_lr", overrides)
    momentum = [0.9] if cfg.momentum_schedule.get("_target_") else []
    preview = compute(cfg.lr_schedule, RUN, [0.1], momentum_schedule=cfg.momentum_schedule, base_momentum=momentum)
    draw_lr_curve(
        picture,
        lr=preview.lr,
        momentum=preview.momentum,
        iters_per_epoch=RUN.iters_per_epoch,
        warmup_end=preview.warmup_end,
        size=(3.6, 2.9 if preview.momentum else 2.1),
        dpi=100,
    )


def main() -> None:
    resolvers.register()
    page = (ROOT / "docs" / "schedules.md").read_text()
    # A picture and, below it, the code block with the overrides that it shows.
    wanted = re.findall(r"!\[.*?\]\((pictures/\S+?)\).*?\n\n    (.+?)\n", page, flags=re.DOTALL)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for picture, overrides in wanted:
            draw(ROOT / "docs" / picture, shlex.split(overrides))
    print(f"{len(wanted)} pictures in {ROOT / 'docs' / 'pictures'}")


if __name__ == "__main__":
    main()
