"""A run of a stranger runs none of its code: ways in which its config might try."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tests.conftest import CONF

import hookline
from hookline.checkpoint import write
from hookline.commands.resume import with_stored_overrides
from hookline.config.errors import ConfigError
from hookline.experiment.trust import check_overrides, check_target, read_config
from hookline.models.weight_files import read_weights


def node(target, **arguments):
    return {"_target_": target, **arguments}


@pytest.fixture
def stranger(trained_run, tmp_path):
    """Return a function: a run directory whose checkpoint has a config with this text behind it, or changed so."""

    def make(change) -> Path:
        content = torch.load(trained_run() / "checkpoints" / "best.pt", weights_only=True)
        if callable(change):
            config = yaml.safe_load(content["config"])
            change(config)
            content["config"] = yaml.safe_dump(config)
        else:
            content["config"] += change
        (tmp_path / "stranger").mkdir(exist_ok=True)
        for name in ("best.pt", "last.pt"):
            write(tmp_path / "stranger" / "checkpoints" / name, content)
        return tmp_path / "stranger"

    return make


TOUCH = "touch owned"

# What a `_target_` may try. Each would do harm where it is called, or fetch or open something.
TARGETS = [
    node("os.system", command=TOUCH),
    node("posix.system", _args_=[TOUCH]),
    node("subprocess.run", args=["touch", "owned"]),
    node("builtins.eval", _args_=["open('owned', 'w')"]),
    node("builtins.exec", _args_=["open('owned', 'w')"]),
    node("builtins.open", file="owned", mode="w"),
    node("pathlib.Path.touch", self=node("pathlib.Path", _args_=["owned"])),
    node("importlib.import_module", name="owned"),
    node("runpy.run_path", path_name="owned.py"),
    node("pickle.loads", _args_=["x"]),
    node("hydra.utils.call", config=node("os.system", command=TOUCH)),
    node("omegaconf.OmegaConf.register_new_resolver", name="x", resolver=node("os.system", _partial_=True)),
    # Aliases: the same objects under names that begin well.
    node("hookline.build.os.system", command=TOUCH),
    node("hookline.job.os.system", command=TOUCH),
    node("hookline.data.cache.os.system", command=TOUCH),
    node("torch.os.system", command=TOUCH),
    node("torch.hub.os.system", command=TOUCH),
    node("torch.serialization.os.system", command=TOUCH),
    node("torch.nn.modules.module.warnings.sys.modules.get", _args_=["os"]),
    node("torch.builtins.eval", _args_=["1"]),
    node("torch.importlib.import_module", name="owned"),
    node("timm.models._hub.os.system", command=TOUCH),
    node("timm.utils.summary.os.system", command=TOUCH),
    node("torchvision.datasets.utils.os.remove", path="owned"),
    node("hookline.data.decode.Image.open", fp="owned"),
    node("hookline.models.weights.sys.modules.clear"),
    # The packages' own that load, evaluate, start or write.
    node("torch.load", f="owned", weights_only=False),
    node("torch.save", obj=1, f="owned"),
    node("torch.hub.load", repo_or_dir=".", model="owned", source="local"),
    node("torch.hub.load_state_dict_from_url", url="http://localhost/x.pt"),
    node("torch.hub.download_url_to_file", url="http://localhost/x.pt", dst="owned"),
    node("torch.jit.load", f="owned"),
    node("torch.package.PackageImporter", file_or_buffer="owned"),
    node("torch.classes.load_library", path="owned"),
    node("torch.ops.load_library", path="owned"),
    node("torch.utils.cpp_extension.load_inline", name="x", cpp_sources="int x;"),
    node("torch.utils.collect_env.run", command=TOUCH),
    node("torch.utils.benchmark.Timer", stmt="1"),
    node("torch.utils.tensorboard.SummaryWriter", log_dir="owned"),
    node("torch.multiprocessing.spawn", fn=node("os.system", _partial_=True)),
    node("torch.distributed.run.main", args=["owned.py"]),
    node("torch.fx.GraphModule", root={}, graph={}),
    node("torch.jit.CompilationUnit", lang="def f(): return 1"),
    node("torch.set_default_device", device="cuda"),
    node("torchvision.io.write_file", filename="owned", data=[1]),
    node("torchvision.datasets.utils.download_url", url="http://localhost/x", root="."),
    node("torchvision.models.resnet18", weights="DEFAULT"),
    node("timm.models.load_checkpoint", model=1, checkpoint_path="owned"),
    node("timm.models.resnet18", pretrained=True),
    node("timm.task.DistillationTeacher", model_name_or_module="hf-hub:a/b", num_classes=2),
    node("hookline.load", run=".", trust=True),
    node("hookline.experiment.trained.load", run=".", trust=True),
    node("hookline.experiment.compose_config"),
    node("hookline.config.instantiate.build", node=node("os.system", command=TOUCH), key="x"),
    node("hookline.config.instantiate.locate", path="owned.x", key="x"),
    node("hookline.config.files.write_json", path="owned", content={}),
    node("hookline.commands.train.git_commit"),
    node("hookline.checkpoint.write", path="owned", content={}),
    node("hookline.loggers.event_file.EventFile", folder="owned"),
    node("hookline.data.cache.CachedSource", cache_dir="owned"),
    node("hookline.data.held.HeldSource"),
    # Spellings.
    node("torch.nn:Identity"),
    node("torch..nn.Identity"),
    node(" torch.nn.Identity"),
    node("TORCH.nn.Identity"),
    node("tоrch.nn.Identity"),  # with a Cyrillic letter
    node("torchx.nn.Identity"),
    node("torch.nn.Identity.__init__.__globals__"),
    node("torch.nn.Module.__subclasses__"),
    node("torch.nn.modules.__dict__.get", _args_=["x"]),
    node("torch.nn"),
    node("torch.optim.sgd.Tensor"),
    node(["os", "system"]),
    node({"a": "os.system"}),
    node(7),
]


@pytest.mark.parametrize("way", TARGETS, ids=lambda way: str(way["_target_"]))
def test_a_target_that_is_no_part_of_a_run_is_refused(way, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {"model": node("timm.create_model", model_name="test_resnet", act_layer=way)}
    with pytest.raises(ConfigError, match=r"model\.act_layer\._target_=.*give trust=true") as error:
        read_config(yaml.safe_dump(config), False, "a run")
    assert "\n" not in str(error.value)
    assert not Path("owned").exists()


EVIL = node("os.system", command=TOUCH)

PLACES = {
    "the model itself": lambda config: config.update(model=EVIL),
    "a list": lambda config: config["model"].update(x=[1, [EVIL]]),
    "positional arguments": lambda config: config["model"].update(_args_=[EVIL]),
    "a mapping without a target": lambda config: config["model"].update(kwargs={"a": {"b": EVIL}}),
    "partially": lambda config: config["model"].update(x={**EVIL, "_partial_": True}),
    "not recursively": lambda config: config["model"].update(_recursive_=False, x=EVIL),
    "unconverted": lambda config: config["model"].update(_convert_="none", x=EVIL),
    "a transform": lambda config: config["augment"]["val"].update(x=EVIL),
    "a batched transform": lambda config: config["data"]["transforms"].update(x=EVIL),
    "the data": lambda config: config.update(data=EVIL),
    "a metric": lambda config: config["evaluation"]["metrics"].update(x=EVIL),
    "a hook": lambda config: config["hooks"].update(x=EVIL),
    "a sink": lambda config: config["logger"].update(x=EVIL),
    "an optimizer": lambda config: config.update(optimizer=EVIL),
    "a group of its own": lambda config: config.update(mine={"deep": [{"er": EVIL}]}),
    "a key that is a number": lambda config: config["model"].update({7: {8: EVIL}}),
}


@pytest.mark.parametrize("change", PLACES.values(), ids=PLACES.keys())
def test_a_target_is_found_wherever_it_stands(change, stranger, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"_target_=os\.system: is not among what a stored config may name"):
        hookline.load(stranger(change))
    assert not Path("owned").exists()


INTERPOLATIONS = [
    "${oc.env:SECRET}",
    "${oc.env:NONE,x}",
    "${oc.decode:'1'}",
    "${oc.select:model}",
    "${oc.create:{_target_:os.system}}",
    "${oc.deprecated:model}",
    "${unless:null,${oc.env:SECRET}}",
    "${custom:1}",
    "${seed}",
    "x${.${seed}}",
    r"\${oc.env:SECRET}",
]


@pytest.mark.parametrize("text", INTERPOLATIONS)
def test_an_interpolation_is_refused_and_reads_nothing(text, monkeypatch):
    monkeypatch.setenv("SECRET", "hush")
    for config in ({"seed": 1, "data": {"root": text}}, {"data": {text: 1}}, {"hooks": [[text]]}):
        with pytest.raises(ConfigError, match="is an interpolation") as error:
            read_config(yaml.safe_dump(config), False, "a run")
        assert "hush" not in str(error.value)


def test_an_interpolation_in_a_run_is_refused(stranger):
    with pytest.raises(ConfigError, match="is an interpolation"):
        hookline.load(stranger(lambda config: config["data"].update(root="${oc.env:HOME}")))


TEXTS = {
    "a key that is there twice": ("\nmodel: {_target_: os.system}\n", "cannot be read"),
    "a nested one": ("\nx:\n  _target_: torch.nn.ReLU\n  _target_: os.system\n", "cannot be read"),
    "a tag of Python's": ("\nx: !!python/object/apply:os.system ['touch owned']\n", "cannot be read"),
    "a tag of one's own": ("\nx: !evil 1\n", "cannot be read"),
    "aliases that grow": ("\nx: &a [1]\ny: [*a, *a]\n", "has YAML aliases"),
    "a merged mapping": ("\nx: &a {_target_: os.system}\ny:\n  <<: *a\n", "has YAML aliases"),
    "a second document": ("\n---\nmodel: {_target_: os.system}\n", "cannot be read"),
    "no YAML": ("\n\t{[", "cannot be read"),
}


@pytest.mark.parametrize(("text", "said"), TEXTS.values(), ids=TEXTS.keys())
def test_yaml_that_no_run_writes_is_refused(text, said, stranger, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said) as error:
        hookline.load(stranger(text))
    assert "\n" not in str(error.value)
    assert not Path("owned").exists()


def test_nothing_is_imported_that_lies_beside_the_run(stranger, tmp_path, monkeypatch):
    run = stranger(lambda config: config["model"].update(act_layer=node("evil_module.Act")))
    (run / "local").mkdir()
    for folder in (run, run / "local"):
        (folder / "evil_module.py").write_text("open('owned', 'w')\nclass Act: pass\n")
        (folder / "evil.pth").write_text("import os; os.system('touch owned')\n")
    monkeypatch.chdir(run)
    monkeypatch.syspath_prepend(str(run))
    with pytest.raises(ConfigError, match=r"evil_module\.Act"):
        hookline.load(".")
    assert "evil_module" not in sys.modules
    assert not (run / "owned").exists()


def test_a_models_name_leads_nowhere(stranger, tmp_path):
    for name in ("hf-hub:somebody/something", "hf_hub:a/b", f"local-dir:{tmp_path}"):
        run = stranger(lambda config, name=name: config["model"].update(model_name=name))
        with pytest.raises(ConfigError, match="leads to a folder or a hub"):
            hookline.load(run)


def test_nor_does_it_by_way_of_another_value(tmp_path):
    kept = [f"logger.mlflow.name='local-dir:{tmp_path}'", "model.model_name=${logger.mlflow.name}"]
    with pytest.raises(ConfigError, match="leads to a folder or a hub"):
        check_overrides(kept, False, str(tmp_path / ".hydra" / "overrides.yaml"))


MAKER = node("timm.create_model", model_name="test_resnet", pretrained=True, pretrained_cfg={"url": "http://x/y.pth"})
BY_PLACE = node("timm.create_model", _args_=["test_resnet", True, {"url": "http://localhost/x.pth"}])

MAKERS = {
    "a transform": lambda config: config["data"]["transforms"].update(x=MAKER),
    "an argument of a transform": lambda config: config["data"]["transforms"]["resize"].update(size=MAKER),
    "a hook": lambda config: config["hooks"].update(x=MAKER),
    "the loss": lambda config: config.update(loss=MAKER),
    "another name": lambda config: config.update(loss={**MAKER, "_target_": "timm.models.create_model"}),
    "torchvision's": lambda config: config.update(
        loss=node("hookline.models.build.torchvision_model", name="resnet18", weights="DEFAULT")
    ),
    "a key that begins like the model": lambda config: config.update(models=MAKER),
    "by place": lambda config: config.update(model=BY_PLACE),
    "by place, in a list": lambda config: config.update(model=node("torch.nn.Sequential", _args_=[BY_PLACE])),
    "partially": lambda config: config["model"].update(x={**MAKER, "_partial_": True}),
}


@pytest.mark.parametrize("change", MAKERS.values(), ids=MAKERS.keys())
def test_a_model_is_made_in_the_models_node_alone_and_by_the_names_of_arguments(change, stranger, monkeypatch):
    fetched = []
    monkeypatch.setattr("timm.models._builder.load_pretrained", lambda *a, **k: fetched.append(a))
    with pytest.raises(ConfigError, match=r"makes a model, which is for|takes its arguments by their names"):
        hookline.load(stranger(change))
    assert fetched == []


@pytest.mark.parametrize("target", ["torchvision_source", "HuggingFace", "ImageFolder", "FashionMNIST", "Digits"])
def test_data_are_opened_by_the_node_of_the_data_alone(target, stranger):
    data = node(f"hookline.data.{target}", name="CIFAR10", root=".", download=True)
    for change in (
        lambda config: config["data"]["transforms"].update(x=data),
        lambda config: config["model"].update(act_layer=data),
        lambda config: config.update(loss=[data]),
    ):
        with pytest.raises(ConfigError, match="opens data, which is for the node `data` alone"):
            hookline.load(stranger(change))


def test_a_model_within_the_model_is_made_without_weights(stranger, monkeypatch):
    fetched = []
    monkeypatch.setattr("timm.models._builder.load_pretrained", lambda *a, **k: fetched.append(a))
    run = stranger(lambda config: config.update(model=node("torch.nn.Sequential", _args_=[MAKER])))
    with pytest.raises(ConfigError, match="do not fit the model"):
        hookline.load(run)
    assert fetched == []


def test_files_of_weights_that_a_config_names_stay_closed(stranger, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("timm.models._helpers.load_state_dict", lambda path, *a, **k: opened.append(path))
    changes = {"pretrained": True, "checkpoint_path": str(tmp_path / "evil.pt"), "checkpoint_weights": "ema"}
    hookline.load(stranger(lambda config: config["model"].update(changes)))
    assert opened == []


def test_trust_opens_all_or_what_is_listed(stranger, tmp_path, monkeypatch):
    (tmp_path / "my_acts.py").write_text("import torch\n\nclass Act(torch.nn.ReLU):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    run = stranger(lambda config: config["model"].update(act_layer=node("my_acts.Act", _partial_=True)))
    with pytest.raises(ConfigError, match=r"or trust=\[my_acts\]"):
        hookline.load(run)
    for trust in (["my_act"], ["acts"], ["my_acts.Ac"]):
        with pytest.raises(ConfigError, match=r"my_acts\.Act"):
            hookline.load(run, trust=trust)
    for trust in (True, ["my_acts"], ["other", "my_acts.Act"]):
        assert any("Act" in type(m).__name__ for m in hookline.load(run, trust=trust).model.modules())


def test_listed_modules_open_nothing_else(stranger):
    def change(config):
        config["model"]["act_layer"] = EVIL
        config["data"]["root"] = "${oc.env:HOME}"

    with pytest.raises(ConfigError, match=r"os\.system|interpolation"):
        hookline.load(stranger(change), trust=["my_acts"])


USUAL = [
    "timm.create_model",
    "torch.nn.GELU",
    "torch.optim.AdamW",
    "timm.optim.Lion",
    "torch.optim.lr_scheduler.LinearLR",
    "timm.scheduler.CosineLRScheduler",
    "torchvision.transforms.v2.ColorJitter",
    "torchvision.transforms.InterpolationMode",
    "torchvision.models.ResNet",
    "timm.models.vision_transformer.VisionTransformer",
]


def test_what_the_projects_own_options_name_is_open():
    named = {
        line.partition("_target_:")[2].split("#")[0].strip().rstrip("}").strip()
        for path in CONF.rglob("*.yaml")
        if path.relative_to(CONF).parts[0] != "hydra"  # of which a run's stored config has nothing
        for line in path.read_text().splitlines()
        if "_target_:" in line
    }
    for target in [*(named - {"null", "???"}), *USUAL]:
        check_target(target.split(",")[0], False, "a run", "x._target_")


class Harm:
    def __reduce__(self):
        return os.system, (TOUCH,)


def test_a_pickle_in_the_place_of_a_checkpoint_is_not_run(trained_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = torch.load(trained_run() / "checkpoints" / "best.pt", weights_only=True)
    write(tmp_path / "harm.pt", {**content, "harm": Harm()})
    with pytest.raises(ConfigError, match="cannot be read"):
        hookline.load("harm.pt")
    for wanted in ("auto", "model", "ema"):  # what model.checkpoint_path and model.checkpoint_weights open
        with pytest.raises(ConfigError, match="cannot be read as weights"):
            read_weights("harm.pt", wanted)
    assert not Path("owned").exists()


def test_weights_of_a_strangers_checkpoint_read_its_config_as_data(stranger):
    file = stranger(lambda config: config.update(evaluation=EVIL, model=EVIL)) / "checkpoints" / "best.pt"
    for wanted in ("auto", "model", "ema"):
        assert read_weights(file, wanted).state


def test_broken_content_is_told(trained_run, tmp_path):
    content = torch.load(trained_run() / "checkpoints" / "best.pt", weights_only=True)
    cases = [
        ({"config": None}, "no config"),
        ({"config": "7"}, "no mapping"),
        ({"config": "a: 1"}, "has no model"),
        ({"parts": []}, "no parts"),
        ({"parts": {"model": {}}}, "no weights"),
        ({"parts": {"model": {"a": torch.zeros(1)}}}, "do not fit the model"),
        ({"inputs": {"classes": ["a"], "shape": [1, 2]}}, "does not say what its model gets"),
        ({"inputs": {"classes": 7, "shape": "abc"}}, "does not say what its model gets"),
        ({"inputs": {"classes": list("abc"), "shape": [1, 32, 32], "channels": 1}}, "do not fit the model"),
    ]
    for change, said in cases:
        write(tmp_path / "broken.pt", {**content, **change})
        with pytest.raises(ConfigError, match=said):
            hookline.load(tmp_path / "broken.pt")


def damage(*keys, value):
    def change(config):
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = value

    return pytest.param(change, id=f"{'.'.join(keys)}={value}")


@pytest.mark.parametrize(
    "change",
    [
        *(damage(group, value=value) for group in ("augment", "data") for value in (7, "x", [])),
        *(damage("evaluation", value=value) for value in ([1], "x", {"monitor": 7})),
        *(damage(group, value=value) for group in ("model", "runner") for value in (7, "x", [1])),
        *(damage("augment", "mean", value=7), damage("data", value=None), damage("data", "transforms", value=7)),
    ],
)
def test_a_damaged_config_is_told_in_one_line(change, stranger):
    with pytest.raises(ConfigError) as error:
        hookline.load(stranger(change))
    assert "\n" not in str(error.value)


def test_names_of_classes_are_no_commands_to_a_terminal(stranger):
    run = stranger("")
    names = [f"{number} é" for number in range(9)] + ["a\x1b]0;owned\x07\x9bb"]
    (run / "classes.txt").write_text("\n".join(names), encoding="utf-8")
    assert hookline.load(run).classes == [*names[:9], r"a\x1b]0;owned\x07\x9bb"]


def test_a_link_in_the_place_of_the_names_is_not_followed(stranger, tmp_path):
    run = stranger("")
    (tmp_path / "secret.txt").write_text("secret\n" * 10)
    (run / "classes.txt").symlink_to(tmp_path / "secret.txt")
    assert "secret" not in hookline.load(run).classes


@pytest.mark.parametrize("name", ["train.log", "checkpoints", "tensorboard/events.1", ".hydra/config.yaml"])
def test_a_run_with_a_link_that_leads_out_of_it_does_not_go_on(name, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    other.mkdir()
    for folder in ("wandb", ".hydra", "tensorboard"):
        (run / folder).mkdir(parents=True)
    (run / ".hydra" / "overrides.yaml").write_text("[seed=3]")
    (run / "inside").symlink_to(run / "tensorboard")
    (run / "wandb" / "debug.log").symlink_to(other)
    (tmp_path / "link").symlink_to(run)
    assert with_stored_overrides([f"resume={tmp_path / 'link'}"])[0] == "seed=3"
    (run / name).symlink_to(other)
    with pytest.raises(ConfigError, match=r"is a link that leads out of the run; .*give trust=true"):
        with_stored_overrides([f"resume={run}"])
    assert with_stored_overrides([f"resume={run}", "trust=true"])[0] == "seed=3"


OVERRIDES = [
    "--config-dir=evil",
    "-m",
    "hydra.searchpath=[evil]",
    "hydra/launcher=evil",
    "+hydra.job.env_set.PATH=evil",
    "hydra.output_subdir=../..",
    "model._target_=os.system",
    "+hooks.x._target_=subprocess.run",
    "+hooks.x={_target_:os.system,command:'touch owned'}",
    "+hooks={x:{y:[{_target_:os.system}]}}",
    "data.root=${oc.env:HOME}",
    "+x=${oc.decode:'1'}",
    "+x=${unless:null,${oc.env:HOME}}",
    "+x={y:'${oc.env:HOME}'}",
    "seed=1,2",
    "seed=range(1,9)",
    "not an override at all {",
    "model._target_=torch.hub.load",
    "+model.act_layer._target_=beside.Act",
    "+model.act_layer._target_=mine.os.system",
    "+model.act_layer._target_=numpy.load",
    "+model.act_layer._target_=hookline.load",
    "loss=../../../../tmp/evil/loss",
    "+loss@hooks.zz=../../evil/loss",
    "loss=/tmp/evil/loss",
    "loss='~/evil'",
    "loss=recipe/../../evil",
    "logger=[tensorboard,../evil]",
    "loss=${data.root}",
    "data@hydra.job=digits",
    " loss=bce",
    "model.model_name='hf-hub:a/b'",
    "+hooks.x._target_=timm.create_model",
    "+hooks.x._target_=hookline.data.HuggingFace",
    "+hooks.x={_target_:timm.create_model,model_name:resnet18,pretrained:true}",
]


@pytest.mark.parametrize("override", OVERRIDES)
def test_stored_overrides_that_do_more_than_choose_are_refused(override, tmp_path, tmp_path_factory, monkeypatch):
    mine = tmp_path_factory.mktemp("mine")
    (mine / "mine.py").write_text("import os\n")
    (tmp_path / "beside.py").write_text("open('owned', 'w')\nclass Act: pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(mine))
    monkeypatch.syspath_prepend(str(tmp_path))
    stored = tmp_path / ".hydra" / "overrides.yaml"
    stored.parent.mkdir()
    stored.write_text(yaml.safe_dump(["seed=3", override]))
    with pytest.raises(ConfigError, match=r"overrides\.yaml.*give trust=true") as error:
        with_stored_overrides([f"resume={tmp_path}"])
    assert "\n" not in str(error.value)
    assert not Path("owned").exists()
    assert with_stored_overrides([f"resume={tmp_path}", "trust=true"])[:2] == ["seed=3", override]


def test_stored_overrides_that_choose_are_taken_up_but_for_trust(tmp_path, tmp_path_factory, monkeypatch):
    stored = tmp_path / ".hydra" / "overrides.yaml"
    stored.parent.mkdir()
    usual = ["model=resnet18", "loss=recipe/rsb_a1", "logger=[csv,wandb]"]
    usual += ["+hooks.slow._target_=hookline.hooks.ema.EMAHook", "data.root='~/x'", "~hooks.text"]
    stored.write_text(yaml.safe_dump([*usual, "trust=true"]))
    found = with_stored_overrides([f"resume={tmp_path}", "trust=[my_acts]"])
    assert found[: len(usual)] == usual
    assert "trust=true" not in found
    stored.write_text(yaml.safe_dump(["+model.act_layer._target_=my_acts.Act"]))
    assert with_stored_overrides([f"resume={tmp_path}", "trust=[my_acts]"])[0].endswith("my_acts.Act")
    with pytest.raises(ConfigError, match=r"or trust=\[my_acts\]"):
        with_stored_overrides([f"resume={tmp_path}"])
    # What lies among the user's own modules is the user's own, as it was when the run began.
    mine = tmp_path_factory.mktemp("mine")
    (mine / "my_acts.py").write_text("class Act: pass\n")
    monkeypatch.syspath_prepend(str(mine))
    assert with_stored_overrides([f"resume={tmp_path}"])[0].endswith("my_acts.Act")
    with pytest.raises(ConfigError, match="trust=maybe"):
        with_stored_overrides([f"resume={tmp_path}", "trust=maybe"])
