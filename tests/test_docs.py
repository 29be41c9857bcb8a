"""What the documents say works: their commands, and the files that they show, in the folder in which they say so."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.images import write_film, write_folder
from tests.sets import write_data_of
from tests.sweep.sweeps import write_grid
from tests.test_layers import LAYERS

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# What cannot run in a test: it installs packages, runs the tests themselves, changes the working tree, never ends, or
# repeats an earlier run (tests/commands/test_repeat.py makes one for it).
NOT_RUN = (
    "python src/train.py --config-dir RUN/.hydra --config-name config hydra/job_logging=hookline hydra.job.name=train"
    " hydra.run.dir=NEW",
    "./scripts/train.sh lr_schedule=cosine optimizer=sgd",
    "./scripts/test.sh",
    "./scripts/test.sh tests/schedules -k warm",
    "./scripts/test.sh -m cuda",
    "./scripts/test.sh -m slow",
    "python3 -m venv .venv && . .venv/bin/activate",
    "pip install -r requirements.txt",
    "ruff format .",
    "python src/train.py resume=RUN_DIR",
    # Set up an environment for a GPU; tests/benchmarks/test_gpu_check.py runs the script.
    "scripts/gpu_check.sh",
    "scripts/gpu_check.sh --wheels FOLDER",
    # Slow tests run these: whole runs beside a busy neighbour, and runs that are killed.
    "python scripts/benchmarks/threads.py",
    "python scripts/chaos.py --kills=5",
    # There may be no GPU; tests/commands/test_launch.py has what is told then.
    "python src/train.py distributed.processes=gpu",
    # A search has written the option; tests/commands/test_search.py runs one.
    "python src/train.py experiment=best_<sweep>",
    # Searches of many runs; tests/commands/test_search.py has short ones.
    "python src/train.py -m hydra/sweeper=optuna sweep=search",
    "python src/train.py -m hydra/sweeper=optuna sweep=search hydra.sweeper.n_trials=50 hydra/sweeper/sampler=gp",
    "python src/train.py -m hydra/sweeper=optuna 'optimizer.lr=tag(log,interval(0.01,1))' lr_schedule.warmup=linear,exp"
    " 'lr_schedule.warmup_iters=range(1,6)'",
)

# What is appended to a command so that it ends soon.
SHORT = {
    "src/train.py": ["runner.max_epochs=null", "runner.max_iters=2", "data.batch_size=8", "hooks.lr_curve=null"],
    "src/evaluate.py": ["resamples=20"],
    "scripts/model_info.py": ["info.batch_sizes=[1]", "info.seconds=0.001"],
    "scripts/plot_lr.py": [],
    "scripts/find_lr.py": ["find.iterations=10", "data.batch_size=8"],
    "scripts/benchmarks/engine.py": ["--rounds=1", "--iterations=20", "--only"],
    "scripts/benchmarks/training.py": ["--rounds=1", "--batches=2", "--model=test_resnet"],
    "scripts/benchmarks/startup.py": ["--rounds=1", "--only=help"],
    "scripts/benchmarks/data.py": ["--rounds=1", "--images=128"],
    "scripts/benchmarks/prediction.py": ["--rounds=1", "--images=16", "--model=test_resnet"],
    "scripts/benchmarks/checkpoint.py": ["--rounds=1", "--model=test_resnet"],
    "scripts/benchmarks/gpu.py": ["--device=cpu", "--tiny", "--only=checkpoint"],
    "scripts/benchmarks/scaling.py": ["--rounds=1", "--model=test_resnet", "--measured-batch=2", "--size=64"],
    "scripts/benchmarks/sweep.py": ["--jobs=2", "--epochs=1", "--only"],
}


@dataclass
class Section:
    """What stands between two headings of a page: files by their paths, commands, and commands with their output."""

    page: str
    title: str
    files: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    dialogues: list[tuple[str, str]] = field(default_factory=list)
    prose: str = ""


def sections_of(path: Path) -> list[Section]:
    """Return the sections of a page."""
    page = str(path.relative_to(ROOT))
    sections = [Section(page, "")]
    # Every second piece is the language and content of a fenced block.
    for number, piece in enumerate(re.split(r"^```(\w+\n.*?)^```$", path.read_text(), flags=re.MULTILINE | re.DOTALL)):
        if number % 2:
            add_block(sections[-1], *piece.split("\n", 1))
        else:
            before, *parts = re.split(r"^#+ (.*)$", piece, flags=re.MULTILINE)
            sections[-1].prose += before
            for title, prose in zip(parts[::2], parts[1::2], strict=True):
                sections.append(Section(page, title, prose=prose))
    for section in sections:
        spans = re.findall(r"`(python (?:src|scripts)/[^`]+)`", section.prose)
        section.commands += [" ".join(span.split()) for span in spans]
    return sections


def add_block(section: Section, language: str, content: str) -> None:
    """Add a fenced block to its section."""
    where = f"{section.page}: {section.title}"
    if language == "bash":
        section.commands += content.splitlines()
    elif language in ("python", "yaml"):
        first, _, rest = content.partition("\n")
        if first.startswith(
            "# @package"
        ):  # which Hydra reads in the first lines only, so the name is in the text before
            named = re.findall(r"`(local/\S+\.yaml)`", section.prose)
            assert named, f"{where}: the text before the block does not say its file's name"
            section.files[named[-1]] = content
            return
        assert re.fullmatch(r"# local/\S+", first), f"{where}: the block does not begin with its file's name"
        section.files[first.removeprefix("# ")] = rest
    elif language == "console":
        command, _, output = content.partition("\n")
        section.dialogues.append((command.removeprefix("$ "), output))
    else:
        assert language == "text", f"{where}: a block of {language} is not executed"


SECTIONS = [section for page in PAGES for section in sections_of(page)]


def table_commands() -> list[str]:
    """Return the commands that the README's table of wishes means."""
    rows = re.findall(r"^\| .*? \| (.*) \|$", next(s.prose for s in SECTIONS if s.title.startswith("I want")), re.M)
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row) if row != "do this"]
    return [f"python src/train.py {span}" for span in spans if not span.startswith("python ")]


# Commands with the files of their sections; one that stands in several places without files is run once.
EXAMPLES = {
    (command, *section.files): (command, section.files) for section in SECTIONS for command in section.commands
} | {(command,): (command, {}) for command in table_commands()}
# What everybody tries first; the commands of the other pages take minutes together, and so do whole sweeps. The one
# that starts two processes takes 20 s, and tests/commands/test_launch.py runs it, too.
FIRST = {(command, *s.files) for s in SECTIONS if s.page == "README.md" for command in s.commands}
FIRST = {key for key in FIRST | {(c,) for c in table_commands()} if not re.search("sweep=|processes=", key[0])}
RUN = [
    pytest.param(command, files, id=command[:90], marks=[] if key in FIRST else pytest.mark.slow)
    for key, (command, files) in EXAMPLES.items()
    if command not in NOT_RUN
]
DIALOGUES = [dialogue for section in SECTIONS for dialogue in section.dialogues]


@pytest.fixture
def python(tmp_path, monkeypatch, capfd):
    """Return a function that runs a command line of Python as the shell does, but in this process.

    The folder in which it runs stands for the repository's root. It returns exit status, stdout and stderr.
    """
    (tmp_path / "root").mkdir()
    monkeypatch.chdir(tmp_path / "root")

    def run(words: list[str]) -> tuple[int, str, str]:
        _, script, *arguments = words
        path = (ROOT if (ROOT / script).is_file() else Path()) / script
        monkeypatch.syspath_prepend(path.parent)
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        status = 0
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        return status, *capfd.readouterr()

    return run


def shortened(words: list[str]) -> list[str]:
    """Return the words of a command that ends soon."""
    script = next((word for word in words if word in SHORT), None)
    if script is None or "--help" in words or "--cfg" in words:
        return words
    # A warm-up that has to be shorter than the run is, too.
    joined = ["lr_schedule.warmup_iters=1"] if "lr_schedule.warmup_join=shift" in words else []
    # Some points of a sweep stand for all of them.
    few = ["seed=0", "lr_schedule.warmup=exp", "lr_schedule.warmup_iters=1"] if "sweep=warmup" in words else []
    return [*words, *SHORT[script], *joined, *few]


@pytest.mark.parametrize(("command", "files"), RUN)
def test_command(command, files, python, idx_folder, monkeypatch, trained_run):
    for path, content in files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(content)
    if "RUN_DIR" in command + "".join(files.values()):
        for name in ("RUN_DIR", "OTHER_RUN_DIR"):
            shutil.copytree(trained_run("hooks.text=null"), name)
        write_folder(Path("photos"), [""], 3, name="{:03}.jpg")
    if "film.mp4" in command:
        write_film(Path("film.mp4"))
    words = shortened(shlex.split(command))
    write_data_of(words, monkeypatch)
    if "source=flowers" in command:
        write_folder(Path("flowers"), ("daisy", "tulip"), count=10, size=(8, 6), name="{:03}.jpg")
    if "scripts/report.py" in command:
        write_grid(Path("outputs/sweeps/warmup"), {("linear", 1): [90.0, 91.0], ("exp", 1): [88.0, 89.5]})
    if "fashion_mnist" in command:
        words.append(f"data.root={idx_folder()}")
    elif command.endswith(("benchmarks/training.py", "benchmarks/data.py")):
        words.append(f"--root={idx_folder(train=600, test=100)}")
    if "scripts/plot_lr.py -m" in command or "benchmarks" in command:
        # These keep something until their process ends: the curves of a sweep, the number of threads.
        script = next(i for i, word in enumerate(words) if word.endswith(".py"))
        words[: script + 1] = [sys.executable, str(ROOT / words[script])]
        done = subprocess.run(words, capture_output=True, text=True)
        status, out, err = done.returncode, done.stdout, done.stderr
    else:
        status, out, err = python(words)
    assert status == 0, err
    assert "error" not in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize(("command", "output"), DIALOGUES)
def test_dialogue(command, output, python):
    _, out, err = python(shlex.split(command))
    assert re.fullmatch(re.escape(output).replace(r"\.\.\.", ".*"), out + err)


def test_a_first_command_in_the_shell(tmp_path):
    section = next(section for section in SECTIONS if section.title == "Add a schedule")
    (tmp_path / "root").mkdir()
    for name in ("src", "scripts"):
        (tmp_path / "root" / name).symlink_to(ROOT / name)
    for path, content in section.files.items():
        file = tmp_path / "root" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        section.commands[0],
        shell=True,
        cwd=tmp_path / "root",
        env={"PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "lr_curve.png" in done.stdout


SCHEDULES = re.findall(r"^    (\w+_schedule=.*)$", (ROOT / "docs" / "schedules.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("overrides", SCHEDULES, ids=[line[:60] for line in SCHEDULES])
def test_schedule(overrides, config):
    from hookline.analysis.preview import compute
    from hookline.experiment import build_schedules
    from hookline.schedules import Clock

    clock = Clock.for_run(25, max_epochs=20)
    schedules = build_schedules(config(*shlex.split(overrides)), clock)
    preview = compute(schedules, clock, {field: {"base": 0.1} for field in schedules})
    assert all(len(groups["base"]) == clock.max_iters for groups in preview.series.values())


def test_the_pages_show_what_they_are_for():
    assert len(RUN) > 60
    assert len(SCHEDULES) > 20
    added = [section.title for section in SECTIONS if section.page == "docs/extending.md" and section.files]
    assert added == [
        *("Add a schedule", "Add an optimizer", "Add a hook", "Add a model", "Add a data set", "Add a metric"),
        *("Add a sink", "Add an update rule", "From Python"),
    ]
    for section in SECTIONS:
        assert not section.files or section.commands, f"{section.page}: {section.title}: its files are not executed"


def test_what_is_not_run_is_there():
    commands = {command for section in SECTIONS for command in section.commands}
    assert set(NOT_RUN) <= commands | set(table_commands())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for path, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", page.read_text()):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if anchor:
            titles = [s.title for s in SECTIONS if ROOT / s.page == target]
            assert anchor in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles], anchor


@pytest.mark.parametrize("check", [["check"], ["format", "--check"]], ids=" ".join)
def test_the_code_shown_passes_the_linter(check, tmp_path):
    for section in SECTIONS:
        for path, content in section.files.items():
            file = tmp_path / path.removeprefix("local/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
    command = [
        sys.executable,
        "-m",
        "ruff",
        *check,
        "--no-cache",
        "--config",
        str(ROOT / "pyproject.toml"),
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_layers_are_those_that_are_tested():
    section = next(section for section in SECTIONS if section.title == "The layers")
    listed = re.findall(r"^\| `(\w+)` \|", section.prose, re.MULTILINE)
    package = ROOT / "src" / "hookline"
    there = [layer for layer in LAYERS if (package / layer).is_dir() or (package / f"{layer}.py").is_file()]
    assert listed == there


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 220
