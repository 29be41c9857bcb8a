"""Draw the pictures of docs/schedules.md, every schedule that the page names with the overrides that it names, and the
README's.

python scripts/draw_schedules.py
"""

import re
import shlex
from pathlib import Path

from hydra import compose, initialize_config_dir

from hookline.analysis.preview import compute
from hookline.charts.lr_curve import draw_lr_curve
from hookline.commands.plot_lr import count_iterations
from hookline.config import resolvers
from hookline.config.paths import conf
from hookline.experiment import build_clock, build_schedules
from hookline.schedules import Clock

DOCS = conf().parent / "docs"
RUN = Clock.for_run(25, max_epochs=20)


def draw(picture: Path, overrides: list[str]) -> None:
    """Draw what `overrides` make of a run of 20 epochs from a learning rate of 0.1 and a momentum of 0.9."""
    cfg = compose("plot_lr", overrides)
    schedules = build_schedules(cfg, RUN)
    bases = {field: {"base": value} for field, value in {"lr": 0.1, "momentum": 0.9}.items() if field in schedules}
    preview = compute(schedules, RUN, bases)
    momentum = preview.series.get("momentum")
    draw_lr_curve(
        picture,
        lr=preview.lr,
        momentum=momentum,
        iters_per_epoch=RUN.iters_per_epoch,
        warmup_end=preview.warmup_end,
        size=(3.6, 2.9 if momentum else 2.1),
    )


def draw_readme() -> None:
    """Draw the run of the README's picture as the run itself does: title, size and all."""
    command = re.findall(r"the command was `python src/train.py ([^`]+)`", (DOCS.parent / "README.md").read_text())[0]
    overrides = shlex.split(command)
    cfg = compose("plot_lr", overrides)
    clock = build_clock(cfg, count_iterations(cfg))
    schedules = build_schedules(cfg, clock)
    preview = compute(
        schedules, clock, {"lr": {"base": cfg.optimizer.lr}, "momentum": {"base": cfg.optimizer.momentum}}
    )
    draw_lr_curve(
        DOCS / "lr_curve.svg",
        lr=preview.lr,
        momentum=preview.series["momentum"],
        iters_per_epoch=clock.iters_per_epoch,
        warmup_end=preview.warmup_end,
        title=" ".join(overrides),
    )


def main() -> None:
    resolvers.register()
    page = (DOCS / "schedules.md").read_text()
    # A picture and, below it, the code block with the overrides that it shows.
    wanted = re.findall(r"!\[.*?\]\((pictures/\S+?)\).*?\n\n    (.+?)\n", page, flags=re.DOTALL)
    with initialize_config_dir(str(conf()), version_base="1.3"):
        for picture, overrides in wanted:
            draw(DOCS / picture, shlex.split(overrides))
        draw_readme()
    print(f"{len(wanted)} pictures in {DOCS / 'pictures'}, and {DOCS / 'lr_curve.svg'}")


if __name__ == "__main__":
    main()
