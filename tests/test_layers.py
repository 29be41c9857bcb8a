"""Imports run one way: down the list of layers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "src" / "hookline"

# From the top down. A module may import from its own layer and from those below. `charts` draw numbers and know nothing
# else, so hooks may draw with them.
LAYERS = (
    "commands",
    "experiment",
    "sweep",
    "analysis",
    "hooks",
    "charts",
    "loggers",
    "engine",
    "job",
    "origin",
    "checkpoint",
    "data",
    "models",
    "optim",
    "losses",
    "metrics",
    "schedules",
    "config",
)
# Its `__init__.py` is below all of them: it imports nothing.
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def imports_of(path: Path) -> list[tuple[int, list[str]]]:
    """Return every import of hookline in a file, type-only ones and those inside functions too: line, dotted parts."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            assert "hookline" not in names, f"{path}:{node.lineno}: import the module that is meant"
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            names = [node.args[0].value] if isinstance(node.args[0], ast.Constant) else []
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "hookline" and len(parts) > 1:
                found.append((node.lineno, parts[1:]))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_import_runs_upwards(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts
    place = LAYERS.index(own[0])
    for line, parts in imports_of(path):
        assert LAYERS.index(parts[0]) >= place, (
            f"line {line}: {'.'.join(own)} imports {'.'.join(parts)}, which is above"
        )


def test_the_package_itself_imports_nothing():
    assert imports_of(PACKAGE / "__init__.py") == []


@pytest.mark.parametrize("path", sorted((PACKAGE / "hooks").glob("*.py")), ids=lambda p: p.stem)
def test_hooks_do_not_import_each_other(path):
    for line, parts in imports_of(path):
        assert parts[0] != "hooks", f"line {line}: imports {'.'.join(parts)}"


@pytest.mark.parametrize("folder", ["schedules", "config"])
def test_schedules_and_config_know_no_torch(folder):
    for path in (PACKAGE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "torch" for name in names), path


def test_schedules_know_no_hydra():
    for path in (PACKAGE / "schedules").rglob("*.py"):
        assert "hydra" not in path.read_text(), path
        assert "omegaconf" not in path.read_text(), path


def test_only_commands_see_the_running_job():
    for path in MODULES:
        if "commands" not in path.parts:
            assert "HydraConfig" not in path.read_text(), path


def test_nothing_counts_parents_or_touches_the_path():
    for path in [*MODULES, *(ROOT / "scripts").rglob("*.py"), *(ROOT / "src").glob("*.py")]:
        text = path.read_text()
        # Pool and server hand it on to the processes of jobs as it is; `local` is where users' own modules are found.
        if path.name not in ("pool.py", "server.py", "local.py"):
            assert "sys.path" not in text, path
        if "benchmarks" not in path.parts and path.name != "draw_schedules.py":
            assert ".parents[" not in text, path
