"""The mirror of a pipeline execution in MLflow. DVC is the record, this is a view on it.

A stage never talks to MLflow itself. `stage_run` starts a second process, the *writer*, and sends
it what happens, one JSON line an event. So the stage neither waits for MLflow's imports (seconds)
nor feels its locks, its failures or its absence, and the writer outlives a `kill -9` of the stage
by the moment that it takes to write KILLED.

    events     stage side: StageRun and stage_run, which know nothing of MLflow
    execution  which pipeline execution does this process belong to, and is a process still alive
    writer     the second process: events in, calls of `child` out
    store      the SQLite store of the checkout, its lock, and the closing of dead runs
    child      one MLflow run for each stage that ran: created, or continued after a kill
    parent     one MLflow run for each pipeline execution: what can be compared
    sync       runs for the results that DVC restored without running a stage
"""

from scratchformer.tracking.live.events import StageRun, stage_run

__all__ = ["StageRun", "stage_run"]
