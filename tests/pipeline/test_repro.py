"""The whole pipeline under DVC, with the preset `tiny`, offline."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.committed import committed

from scratchformer.base.files import sha256
from scratchformer.base.layout import STAGES

from .conftest import Checkout, make_checkout, make_tiny

CHILDREN = ("children_user", "children_system")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def change_param(checkout: Checkout, key: str, value: Any) -> None:
    yaml = YAML()
    path = checkout.path / "params.yaml"
    document = yaml.load(path)
    *sections, last = key.split(".")
    node = document
    for section in sections:
        node = node[section]
    node[last] = value
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)


def stages_that_ran(output: str) -> list[str]:
    return [stage for stage in STAGES if f"Running stage '{stage}'" in output]


def test_every_promised_metric_is_there(tiny_pipeline: Checkout) -> None:
    metrics = json.loads((tiny_pipeline.path / "reports/metrics.json").read_text())
    for key in ("token_error_rate", "exact_match", "loss"):
        assert isinstance(metrics["scratch"][key], float)
    finetune = metrics["finetune"]
    assert 0 <= finetune["before"]["accuracy"] <= 1
    assert 0 <= finetune["after"]["accuracy"] <= 1
    assert set(finetune["delta"]["accuracy"]) >= {"value", "low", "high"}
    assert finetune["baselines"].keys() >= {"majority", "tfidf"}


def test_the_committed_run_has_the_metrics_of_the_default_task() -> None:
    """A fresh clone shows results before anything was run."""
    metrics = json.loads(committed("reports/metrics.json"))
    for key in ("wer", "per", "loss"):
        assert isinstance(metrics["scratch"][key], float)
        assert key == "loss" or metrics["scratch"]["intervals"][key].keys() >= {"low", "high"}
    assert metrics["finetune"]["baselines"].keys() >= {"majority", "tfidf", "probe"}
    assert committed("dvc.lock")


def test_the_checkout_is_clean_and_the_checkpoints_are_gone(tiny_pipeline: Checkout) -> None:
    store = ["mlflow.db", "mlartifacts/1/model"]  # the fixture has no mirror, to save its seconds
    ignored = tiny_pipeline.run("git", "check-ignore", *store).stdout
    assert ignored.split() == store
    assert tiny_pipeline.run("git", "status", "--porcelain").stdout == ""
    left = list((tiny_pipeline.path / ".checkpoints").rglob("*.safetensors"))
    assert left == []


def test_a_second_repro_does_nothing_and_is_quick(tiny_pipeline: Checkout) -> None:
    before = os.times()
    for _ in range(2):
        assert stages_that_ran(tiny_pipeline.run("dvc", "repro").stdout) == []
    after = os.times()
    # Seconds of the processor, which a busy machine makes few more: about 2 each.
    spent = sum(getattr(after, part) - getattr(before, part) for part in CHILDREN)
    assert spent / 2 < 4


def test_an_edited_figure_reruns_visualize_alone(tiny_pipeline: Checkout) -> None:
    module = sorted((tiny_pipeline.path / "src/scratchformer/visualization").glob("*.py"))[-1]
    text = module.read_text()
    module.write_text(text + "\n# edited\n")
    try:
        status = json.loads(tiny_pipeline.run("dvc", "status", "--json").stdout)
    finally:
        module.write_text(text)
    assert set(status) == {"visualize"}


def test_a_parameter_set_back_is_restored_without_training(tiny_pipeline: Checkout) -> None:
    model = tiny_pipeline.path / "models/scratch/model.safetensors"
    metrics = tiny_pipeline.path / "reports/metrics.json"
    first_model, first_metrics = sha256(model), metrics.read_text()

    params = (tiny_pipeline.path / "params.yaml").read_text()
    change_param(tiny_pipeline, "train_scratch.optimizer.learning_rate", 0.00012345)
    diff = tiny_pipeline.run("dvc", "params", "diff").stdout
    assert "train_scratch.optimizer.learning_rate" in diff and "0.00012345" in diff
    ran = stages_that_ran(tiny_pipeline.run("dvc", "repro", "train_scratch").stdout)
    assert ran == ["train_scratch"]
    # What would run next is not run, to save a minute: `make release` runs it.
    status = json.loads(tiny_pipeline.run("dvc", "status", "--json").stdout)
    assert set(status) == {"evaluate", "visualize"}
    assert sha256(model) != first_model
    values = json.loads(first_metrics)
    values["scratch"]["loss"] += 1
    metrics.write_text(json.dumps(values))
    assert "scratch.loss" in tiny_pipeline.run("dvc", "metrics", "diff").stdout
    metrics.write_text(first_metrics)

    (tiny_pipeline.path / "params.yaml").write_text(params)
    assert stages_that_ran(tiny_pipeline.run("dvc", "repro").stdout) == []
    assert sha256(model) == first_model
    assert metrics.read_text() == first_metrics


@pytest.mark.release  # the test above proves the same of the stage that trains
def test_results_of_a_parameter_set_back_are_restored_too(tiny_pipeline: Checkout) -> None:
    metrics = tiny_pipeline.path / "reports/metrics.json"
    params, first = (tiny_pipeline.path / "params.yaml").read_text(), metrics.read_text()
    change_param(tiny_pipeline, "train_scratch.optimizer.learning_rate", 0.00023456)
    ran = stages_that_ran(tiny_pipeline.run("dvc", "repro").stdout)
    assert ran == ["train_scratch", "evaluate", "visualize"]
    assert metrics.read_text() != first
    assert "scratch.loss" in tiny_pipeline.run("dvc", "metrics", "diff").stdout
    (tiny_pipeline.path / "params.yaml").write_text(params)
    assert "train_scratch" not in stages_that_ran(tiny_pipeline.run("dvc", "repro").stdout)
    assert metrics.read_text() == first


def test_a_section_replaced_by_a_string_ends_with_one_line(tiny_pipeline: Checkout) -> None:
    done = tiny_pipeline.run("dvc", "exp", "run", "-S", "finetune=fast", check=False)
    tiny_pipeline.run("git", "checkout", "--quiet", "params.yaml")
    assert done.returncode != 0
    assert "finetune: expected a mapping of keys, found 'fast'" in done.stdout
    assert "Traceback" not in done.stdout


def outputs(checkout: Checkout) -> dict[str, str]:
    """Path → DVC's hash of every output of the tiny pipeline, as committed; a folder's hash is that
    of the names and hashes of its files."""
    text = checkout.run("git", "show", "HEAD:dvc.lock").stdout
    stages = YAML(typ="safe").load(text)["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


@pytest.mark.release  # tests/survival/test_stages.py proves the same of single stages
def test_another_clone_elsewhere_makes_the_same_bytes(
    tiny_pipeline: Checkout, tmp_path: Path
) -> None:
    """All six stages: another path, hash seed, locale, time zone, and nothing in any cache.

    The path is ASCII: in the locale C, DVC itself cannot work in a folder of another name.
    """
    elsewhere = make_checkout(tmp_path / "an other place, and a longer one" / "clone")
    make_tiny(elsewhere)
    changes = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Pacific/Chatham", "PYTHONUTF8": "0"}
    told = elsewhere.run("dvc", "repro", **changes).stdout
    assert stages_that_ran(told) == list(STAGES)
    elsewhere.run("git", "add", "--all")
    elsewhere.run("git", "commit", "--quiet", "--message", "Run the tiny pipeline elsewhere")
    here, there = outputs(tiny_pipeline), outputs(elsewhere)
    assert here.keys() == there.keys() >= {
        "models/scratch", "models/finetuned", "models/tokenizers", "reports/metrics.json",
    }
    # The histories hold seconds, and the report shows them.
    clock = {path for path in here if here[path] != there[path]}
    assert clock <= {"reports/history/scratch", "reports/history/finetune"}
