"""The points of a sweep file, and the jobs that `-m` makes of them."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from tests.conftest import CONF

from hookline.config.errors import ParameterError
from hookline.sweep.points import expand, override, without


def test_grids_are_joined_and_their_lists_multiplied():
    sweep = {"grids": {"off": {"w": None}, "on": {"w": ["linear", "exp"], "n": [1, 2]}}}
    assert expand(sweep) == [
        ["w=null"],
        ["w=linear", "n=1"],
        ["w=linear", "n=2"],
        ["w=exp", "n=1"],
        ["w=exp", "n=2"],
    ]


def test_keys_with_a_comma_between_them_are_paired():
    assert expand({"grids": {"pairs": {"lr, epochs": [[0.1, 10], [0.2, 20]], "seed": [0, 1]}}}) == [
        ["lr=0.1", "epochs=10", "seed=0"],
        ["lr=0.1", "epochs=10", "seed=1"],
        ["lr=0.2", "epochs=20", "seed=0"],
        ["lr=0.2", "epochs=20", "seed=1"],
    ]


def test_the_first_seed_is_done_for_all_points_before_the_second():
    assert expand({"grids": {"a": {"lr": [1, 2]}}, "every": {"seed": [0, 1]}}) == [
        ["lr=1", "seed=0"],
        ["lr=2", "seed=0"],
        ["lr=1", "seed=1"],
        ["lr=2", "seed=1"],
    ]


def test_every_alone_is_a_grid():
    assert expand({"every": {"seed": [3, 4]}}) == [["seed=3"], ["seed=4"]]


def test_a_grid_that_is_null_is_left_out_and_a_point_in_two_grids_is_there_once():
    assert expand({"grids": {"a": None, "b": {"lr": [1, 2]}, "c": {"lr": 2}}}) == [["lr=1"], ["lr=2"]]


def test_a_key_that_is_given_elsewhere_is_left_out():
    sweep = {"grids": {"a": {"lr, wd": [[1, 5], [2, 6]]}}, "every": {"seed": [0, 1]}}
    assert expand(sweep, given={"seed", "wd"}) == [["lr=1"], ["lr=2"]]


def test_exclusions_need_all_their_values():
    jobs = [["a=1", "b=x"], ["a=1", "b=y"], ["a=2", "b=x"], ["a=3"]]
    assert without(jobs, [{"a": 1, "b": "x"}, {"a": [2, 4]}]) == [["a=1", "b=y"], ["a=3"]]


def test_an_exclusion_that_leaves_nothing_out_is_told(caplog):
    assert without([["a=1"]], [{"a": 1, "b": 2}, {"a": 3}]) == [["a=1"]]
    told = [record.getMessage() for record in caplog.records]
    assert [text.partition(":")[2] for text in told] == [
        " exclude[0] leaves nothing out: no point has all of {a: 1, b: 2}",
        " exclude[1] leaves nothing out: no point has all of {a: 3}",
    ]


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, 0.1, 1e-5, "linear", "5%", "3ep", "true", "1e3", "a b", "it's", "back\\", "ünï, 50%", "a=b"),
        *("", "${seed}", [30, "60%"], {"a": [1, None]}, "choice(1,2)", "x,y", float("inf")),
    ],
)
def test_a_value_arrives_as_it_is(value):
    parsed = OverridesParser.create().parse_override(override("key", value))
    assert not parsed.is_sweep_override()
    assert parsed.value() == value
    assert type(parsed.value()) is type(value)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"grid": {}}, "key='grid'"),
        ({"grids": [1]}, "grids="),
        ({"grids": {"a": None}}, "grids="),
        ({"grids": {"a": 3}}, "grids.a=3"),
        ({"grids": {"a": {"lr": []}}}, "grids.a.lr="),
        ({"grids": {"a": {"lr, wd": [[1, 2], [3]]}}}, r"grids.a.lr, wd=\[3\]"),
        ({"every": {"a b": 1}}, "key='a b'"),
        ({"grids": {"a": {None: [1, 2]}}}, "grids.a: key=None"),
        ({"grids": {"a": {"seed,": [[0, 1]]}}}, "grids.a: key='seed,'"),
        ({"grids": {"a": {"seed,seed": [[0, 1]]}}}, "grids.a: key='seed,seed'"),
        ({"grids": {"a": {"hydra.run.dir": ["x"]}}}, "grids.a: key='hydra.run.dir': must be a part of a job"),
        ({"every": {"launcher.slots": [1, 2]}}, "every: key='launcher.slots': must be a part of a job"),
        ({"grids": {"a": {"seed": ["???", 1]}}}, r"grids.a.seed=\['\?\?\?', 1\]"),
    ],
)
def test_what_is_no_sweep_is_told(sweep, message):
    with pytest.raises(ParameterError, match=message):
        expand(sweep)


@pytest.mark.parametrize(
    ("exclude", "message"),
    [({"a": 1}, "exclude="), ([3], r"exclude\[0\]=3"), ([{"a": 1}], "exclude=")],
)
def test_what_is_no_exclusion_is_told(exclude, message):
    with pytest.raises(ParameterError, match=message):
        without([["a=1"]], exclude)


# Jobs that only tell their overrides.
@pytest.fixture
def jobs(run_task):
    def task(cfg):
        from hookline.commands.app import overrides

        print("job:", *overrides())

    def run(*arguments: str):
        done = run_task(task, "train", *arguments, "hydra/launcher=basic")
        return done, [line.removeprefix("job: ") for line in done.out.splitlines() if line.startswith("job: ")]

    return run


def test_the_ready_sweep_has_its_points_with_three_seeds():
    found = expand(OmegaConf.to_container(OmegaConf.load(CONF / "sweep" / "warmup.yaml")))
    assert len(found) == 3 * (1 + 3 * 2 * 2)
    assert ["lr_schedule.warmup=null", "seed=0"] in found
    exp = ["lr_schedule.warmup=exp", "lr_schedule.warmup_iters=3ep", "lr_schedule.warmup_ratio=0.01", "seed=2"]
    assert exp in found


def test_the_ready_sweep_needs_no_flag(jobs):
    done, found = jobs("sweep=warmup", "lr_schedule=linear", "lr_schedule.warmup=exp", "seed=0")
    assert done.status == 0, done.err
    assert len(found) == 1 + 4
    assert all(job.startswith("lr_schedule=linear lr_schedule.warmup=exp seed=0") for job in found)


def test_values_of_the_command_line_replace_and_multiply(jobs, tmp_path):
    folder = tmp_path / "local" / "conf" / "sweep"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "# @package hydra.sweeper.points\ngrids: {a: {optimizer.lr: [1, 2]}}\nevery: {seed: [0, 1]}\n"
        "exclude: [{optimizer.lr: 2, optimizer.momentum: 0.5}]\n"
    )
    done, found = jobs("-m", "sweep=mine", "seed=7", "optimizer.momentum=0,0.5")
    assert done.status == 0, done.err
    assert found == [
        "seed=7 optimizer.momentum=0 optimizer.lr=1",
        "seed=7 optimizer.momentum=0.5 optimizer.lr=1",
        "seed=7 optimizer.momentum=0 optimizer.lr=2",
    ]
    done, found = jobs("-m", "sweep=mine", "optimizer.momentum=0", "hydra.sweeper.points.every=null")
    assert done.status == 0, done.err
    assert found == ["optimizer.momentum=0 optimizer.lr=1", "optimizer.momentum=0 optimizer.lr=2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep=nope"], "sweep=nope: there is no such option"),
        (["-m", "sweep=warmup,warmup"], "sweep=warmup,warmup: "),
        (["sweep=warmup", "hydra.sweeper.points.grids.warm=3"], "sweep=warmup: grids.warm=3"),
        (["sweep=warmup", "+hydra.sweeper.points.grids.warm.nope=3"], "nope: there is no such key"),
    ],
)
def test_a_wrong_sweep_ends_in_one_line(jobs, arguments, message):
    done, found = jobs(*arguments)
    assert done.status == 2
    assert f"error: {message}" in done.err
    assert "Traceback" not in done.err
    assert not found


HEAD = "# @package hydra.sweeper.points\n"
NO_HEAD = "describes no points: its first line must be '# @package hydra.sweeper.points'"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("grids: {a: {seed: [0, 1]}}\n", NO_HEAD),
        (f"# My points.\n{HEAD}grids: {{a: {{seed: [0, 1]}}}}\n", NO_HEAD),
        ("# @package hydra.sweeper\ngrids: {a: {seed: [0, 1]}}\n", NO_HEAD),
        ("", NO_HEAD),
        (HEAD, "describes no points: below its first line"),
        (HEAD + "- {seed: 1}\n", "describes no points: below its first line"),
        (HEAD + "grids: {a: {null: [0, 1]}}\n", "grids.a.null: a key must be a text"),
        (HEAD + "grids: {a: {seed: ['${no.such}', 1]}}\n", "sweep=mine: ${no.such}: there is no such key"),
        (HEAD + "grids: {a: [\n", "mine.yaml: line 3: "),
    ],
)
def test_a_file_without_points_is_told_with_its_name(jobs, tmp_path, content, message):
    folder = tmp_path / "local" / "conf" / "sweep"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(content)
    (folder / "another.yaml").write_text(HEAD + "grids: {broken\n")
    done, found = jobs("sweep=mine")
    assert (done.status, found) == (2, [])
    assert done.err.startswith("error: sweep=mine: ")
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def test_without_a_sweep_file_it_is_hydras_own_grid(jobs):
    _, found = jobs("-m", "seed=0,1", "optimizer.lr=0.1")
    assert found == ["seed=0 optimizer.lr=0.1", "seed=1 optimizer.lr=0.1"]
