"""Images per second of predict.py against the bare model, fed by the same decoder.

The images are JPEGs of 500x375 pixels, quality 90, in the page cache; the model, whose weights nobody has trained, sees
them at 224 pixels, in batches of 64.

    bare      a pool of as many threads decodes and transforms, as the run's validation does; batches are stacked, the
              model is called, and the most probable class is kept
    hookline  what predict.py does from the list of files to predictions.csv and predictions.json

They take turns in one process. A round is `--images` of each.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import torch
from _common import CLOCKS, interleave, machine, positive, report, spread, table
from _jpegs import make_jpegs
from omegaconf import OmegaConf

from hookline.analysis.inputs import Inputs, inputs_of
from hookline.commands.predict import predicted, write
from hookline.config.cores import available_cores
from hookline.data.sample_loader import resolve_workers
from hookline.experiment import build_runner, compose_config
from hookline.experiment.trained import Trained, load
from hookline.job import Job

BATCH = 64
JPEGS = 256


def make_run(folder: Path, images: Path, model: str, device: str) -> Trained:
    """Return a model that has seen a batch of the images, from its checkpoint."""
    cfg = compose_config(
        *("data=image_folder", f"data.root={images}", "data.batch_size=8", "augment=imagenet", "augment.mean=[0.5]"),
        *("augment.std=[0.25]", "model=timm", f"model.model_name={model}", "model.pretrained=false", "logger=none"),
        *("runner.max_iters=1", f"runner.device={device}", "evaluation=none", "hooks.lr_curve=null", "hooks.text=null"),
    )
    job = Job(folder)
    runner = build_runner(cfg, job)
    job.config = OmegaConf.to_yaml(cfg, resolve=True)  # with what building has filled in
    runner.run()
    return load(folder, weights="last", device=device)


def bare(trained: Trained, paths: Sequence[Path], workers: int) -> list[int]:
    """Return the label of each image, by a loop as one writes it by hand."""
    labels: list[int] = []
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool, torch.inference_mode():
        images = pool.map(trained.transforms, paths)
        while batch := list(islice(images, BATCH)):
            labels += trained.model(torch.stack(batch).to(trained.device)).argmax(dim=1).tolist()
    return labels


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18", help="of timm (default resnet18)")
    parser.add_argument("--rounds", type=positive, default=10, help="rounds, each with both (default 10)")
    parser.add_argument("--images", type=positive, default=512, help="images of a round (default 512)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="time or the process's CPU time (default wall)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    args = parser.parse_args()

    found, clock = machine(), CLOCKS[args.clock]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "images")
        folder.mkdir()
        make_jpegs(folder, min(JPEGS, args.images))
        trained = make_run(Path(place, "run"), folder, args.model, args.device)
        files = inputs_of(str(folder)).images
        paths = [files[number % len(files)] for number in range(args.images)]
        cfg = compose_config("sheet=0", f"batch_size={BATCH}", root="predict")
        workers = resolve_workers("auto", cores=available_cores(), device=trained.device)

        def by_hand() -> float:
            start = clock()
            bare(trained, paths, workers)
            return len(paths) / (clock() - start)

        def hookline() -> float:
            start = clock()
            write(cfg, trained, predicted(cfg, trained, Inputs(images=paths)), Path(place, "out"))
            return len(paths) / (clock() - start)

        measured = interleave({"bare": by_hand, "hookline": hookline}, args.rounds)
    ratio = spread([own / other for own, other in zip(measured["hookline"], measured["bare"], strict=True)])
    rows = []
    for name, values in measured.items():
        middle = spread(values)
        rows.append([name, f"{middle.median:,.0f}", f"{middle.low:,.0f} to {middle.high:,.0f}"])
    rows.append(["ratio", f"{ratio.median:.2f}", f"{ratio.low:.2f} to {ratio.high:.2f}"])
    report(
        f"Prediction by {args.model} on {trained.device}, batches of {BATCH}, {workers} thread(s) read, "
        f"{args.rounds} rounds, {args.clock} clock",
        found,
        table(["", "images/s", "quartiles"], rows),
        {
            "rounds": args.rounds,
            "clock": args.clock,
            "model": args.model,
            "device": str(trained.device),
            "workers": workers,
            "images_per_second": {name: spread(values)._asdict() for name, values in measured.items()},
            "ratio": ratio._asdict(),
        },
        args.json,
    )


if __name__ == "__main__":
    main()
