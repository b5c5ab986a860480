"""`scratchformer ui`: MLflow's server on this machine alone, with the store of the checkout."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from scratchformer.base.errors import ParamsError
from scratchformer.tracking.server import serve

from .conftest import Workspace, points


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_there_must_be_runs_and_a_free_port(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="no runs yet; `dvc repro` records them"):
        serve(tmp_path, free_port(), "runs")
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ParamsError, match="is in use; choose another one with --port"):
            serve(tmp_path, taken.getsockname()[1], "runs")


@pytest.mark.slow
def test_the_server_shows_runs_and_artifacts(workspace: Workspace) -> None:
    workspace.mirror(
        "prepare", *points(1, 2), {"event": "artifact", "path": "params.yaml", "folder": None}
    )
    runs = workspace.runs()
    (child,) = runs.children(runs.parents()[0]).values()
    port = free_port()
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("scratchformer")), "ui", "--port", str(port)],
        cwd=workspace.path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True, env={**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
    )  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    try:
        assert server.stdout is not None
        page = server.stdout.readline()  # the address that a person follows
        assert page.startswith(f"{base}/#/experiments/{child.info.experiment_id}/runs?")
        run = json.loads(get(f"{base}/ajax-api/2.0/mlflow/runs/get?run_id={child.info.run_id}"))
        metrics = {metric["key"]: metric["value"] for metric in run["run"]["data"]["metrics"]}
        assert metrics == {"loss": 2.0}
        file = get(f"{base}/get-artifact?path=params.yaml&run_id={child.info.run_id}")
        assert file == (workspace.path / "params.yaml").read_bytes()
        assert b"<html" in get(base)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def get(address: str) -> bytes:
    """The body of an answer, once the server is up (at most three minutes)."""
    deadline = time.monotonic() + 180
    while True:
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                return bytes(answer.read())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
