"""Exit codes and last words of a stage, as the shell and DVC see them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.committed import DEFAULT_PARAMS

ROOT = Path(__file__).parents[2]
STAGE = """
import signal, sys, os, time
from pathlib import Path
from scratchformer.base import errors
from scratchformer.stages.runner import run_stage
from scratchformer.base.terminal import Summary

def stage(params, run):
    {body}
    return Summary("stage", [("rows", "7")], [Path("data/x")])

run_stage(stage)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = DEFAULT_PARAMS.read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("enabled: true", "enabled: false"))
    return tmp_path


def start(folder: Path, body: str, *arguments: str) -> "subprocess.Popen[str]":
    (folder / "stage.py").write_text(STAGE.format(body=body))
    return subprocess.Popen(
        [sys.executable, "stage.py", *arguments],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_stage_of_one_process_refuses_to_be_one_of_several(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(folder, "pass")[0] == 0  # a cluster may say so without having started several
    told = "stage: started in 2 processes"  # by the first of each computer
    for rank, local, said in ("0", "0", told), ("1", "1", ""), ("1", "0", told):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", local)
        code, out, err = run(folder, "pass")
        assert (code, out) == (2, "") and err.startswith(said) and err.count("\n") == bool(said)


def run(folder: Path, body: str, *arguments: str) -> tuple[int, str, str]:
    process = start(folder, body, *arguments)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_a_good_stage_prints_its_summary(folder: Path) -> None:
    code, out, err = run(folder, "pass")
    assert (code, err) == (0, "")
    assert re.search(r"stage  \(\d+ s\)", out) and "rows" in out and "data/x" in out


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        ("errors.ScratchformerError('what')", 1),
        ("errors.ParamsError('what')", 2),
        ("errors.DataError('what')", 3),
        ("errors.GateError('what')", 4),
        ("errors.Interrupted('what', signal.SIGINT)", 130),
        ("errors.Interrupted('what', signal.SIGTERM)", 143),
    ],
)
def test_an_expected_error_is_one_line_and_its_code(folder: Path, raised: str, code: int) -> None:
    assert run(folder, f"raise {raised}") == (code, "", "stage: what\n")


def test_debug_shows_where_it_was_raised(folder: Path) -> None:
    code, _, err = run(folder, "raise errors.DataError('what')", "--debug")
    assert code == 1
    assert "Traceback" in err and "DataError: what" in err


def test_a_defect_of_ours_keeps_its_traceback(folder: Path) -> None:
    code, _, err = run(folder, "return 1 / 0")
    assert code == 1
    assert "ZeroDivisionError" in err and "Traceback" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_a_stage_even_inside_a_careless_library(
    folder: Path, number: signal.Signals, code: int
) -> None:
    body = (
        "try:\n        print('ready', flush=True); time.sleep(60)\n"
        "    except Exception: time.sleep(60)"
    )
    process = start(folder, body)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    asked = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err == "stage: interrupted; run it again to start over\n"
    assert time.monotonic() - asked < 5


def test_threads_are_set_whether_torch_was_imported_or_not(folder: Path) -> None:
    text = (folder / "params.yaml").read_text().replace("threads: 2", "threads: 3")
    (folder / "params.yaml").write_text(text)
    body = (
        "assert os.environ['OMP_NUM_THREADS'] == '3'\n"
        "    import torch; print('threads', torch.get_num_threads())"
    )
    assert "threads 3\n" in run(folder, body)[1]
    script = STAGE.format(body=body).replace("import signal", "import torch, signal", 1)
    (folder / "early.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "early.py"], cwd=folder, check=True, text=True, capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "threads 3\n" in done.stdout


def test_tracking_turned_off_imports_no_mlflow_and_starts_no_process(folder: Path) -> None:
    body = (
        "import psutil; run.log_metrics({'loss': 1.0}, 1); run.log_summary({}); run.log_artifact("
        "Path('x')); run.log_table('t', []); run.log_input('d', Path('x'), 'training')\n"
        "    assert 'mlflow' not in sys.modules and not psutil.Process().children()"
    )
    code, _, err = run(folder, body)
    assert (code, err) == (0, "")
    assert not (folder / "mlflow.db").exists()


DVC = """
stages:
  stage:
    cmd: python stage.py
    params: [run.seed, evaluate, tokenize.finetune.max_length]
"""


@pytest.mark.parametrize(
    "reads", ["params.run.seed", "params.evaluate.beam_size", "params.tokenize.finetune.max_length"]
)
def test_a_stage_reads_what_dvc_yaml_declares_for_it(folder: Path, reads: str) -> None:
    (folder / "dvc.yaml").write_text(DVC)
    code, out, err = run(folder, f"print('value', {reads})")
    assert (code, err) == (0, "") and "value " in out


@pytest.mark.parametrize(
    ("reads", "name"),
    [
        ("params.run.threads", "run.threads"),
        ("params.finetune.epochs", "finetune"),
        ("params.tokenize.scratch.source", "tokenize.scratch"),
        ("params.tracking.enabled", "tracking"),
        ("params.run.model_dump()", "run.model_dump"),
        ("params.model_copy(update={})", "model_copy"),
        ("getattr(params.run, 'threads', 1)", "run.threads"),
    ],
)
def test_a_stage_that_reads_more_fails_at_once(folder: Path, reads: str, name: str) -> None:
    """Else DVC would not run it again when that value changes."""
    (folder / "dvc.yaml").write_text(DVC)
    code, out, err = run(folder, f"print({reads})")
    assert (code, out) == (2, "")
    assert err == (
        f"stage: dvc.yaml: stages.stage.params: {name} is not declared, but the stage reads it; "
        "add it there, so that DVC runs the stage again when it changes\n"
    )
