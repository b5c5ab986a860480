"""Every key of the section `tracking` reaches the mirror."""

import pytest

from scratchformer.params import Params, load_params
from scratchformer.tracking.live import events

from .conftest import Workspace


def enabled(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A writer is started, or it is not."""
    started = []

    def start(stage: str, params: Params) -> None:
        started.append(params.tracking.enabled)

    monkeypatch.setattr(events, "_start", start)
    params = load_params(workspace.path / "params.yaml")
    for value in (True, False):
        chosen = params.tracking.model_copy(update={"enabled": value})
        with events.stage_run("prepare", params.model_copy(update={"tracking": chosen})):
            pass
    return started == [True]


def experiment(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> bool:
    """The run is in the experiment of that name."""
    from mlflow import MlflowClient

    from scratchformer.tracking.mirror.store import store_uri

    workspace.params["tracking"]["experiment"] = "another"
    workspace.mirror("prepare")
    client = MlflowClient(store_uri(workspace.path))
    found = client.get_experiment_by_name("another")
    return found is not None and len(client.search_runs([found.experiment_id])) > 0


ARRIVES = {"tracking.enabled": enabled, "tracking.experiment": experiment}


@pytest.mark.parametrize("key", ARRIVES)
def test_a_parameter_of_tracking_arrives(
    key: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ARRIVES[key](workspace, monkeypatch)
