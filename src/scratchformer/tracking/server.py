"""The MLflow server of a checkout; it listens on this computer only."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from scratchformer.base.errors import ParamsError
from scratchformer.tracking.mirror.headline import columns
from scratchformer.tracking.mirror.store import DATABASE, Store, quiet_environment, store_uri

# Of its two faces, MLflow shows the one for language-model applications first, whatever kind of
# experiment it is: a page without our runs. The address can ask for the other one.
_RUNS = (
    "http://127.0.0.1:{port}/#/experiments/{experiment}/runs"
    "?workflowType=machine_learning&viewStateShareKey={view}"
)
# A view of the list of runs that MLflow shares by address: a tag of the experiment holds it. The
# columns that its page opens with otherwise are no figures.
_VIEW = "scratchformer"
_WIDTH = 175  # pixels of a column: its whole name


def serve(workspace: Path, port: int, experiment: str) -> None:
    """Run MLflow's web interface on 127.0.0.1 until it is interrupted; print the address of the
    runs of `experiment`, the name in params.yaml.

    Raises:
        ParamsError: nothing was recorded yet, or the port is taken.
    """
    if not (workspace / DATABASE).exists():
        raise ParamsError(f"{workspace / DATABASE}: no runs yet; `dvc repro` records them")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ParamsError(f"port {port} is in use; choose another one with --port") from None
    # One worker and no job runner: it starts in a third of the time, for one person.
    environment = quiet_environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    store = Store(workspace, experiment)
    share_columns(store)
    runs = _RUNS.format(port=port, experiment=store.experiment, view=_VIEW)
    print(f"{runs}\nin some seconds; Ctrl-C ends it", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store_uri(workspace),
               "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]  # fmt: skip
    if os.name == "posix":
        os.execve(sys.executable, command, environment)
    subprocess.run(command, env=environment, check=False)


def share_columns(store: Store) -> None:
    """Let the list of runs open with the headline scores of the pipeline runs."""
    parents = store.search(tags={"scratchformer.kind": "pipeline"})
    names = {name for run in parents for name in run.data.metrics}
    selected = [f"metrics.`{name}`" for name in columns(names)]
    widths = dict.fromkeys(selected, _WIDTH)
    view = {"selectedColumns": selected, "columnOrder": selected, "columnWidths": widths}
    store.client.set_experiment_tag(
        store.experiment, f"mlflow.sharedViewState.{_VIEW}", json.dumps(view)
    )
