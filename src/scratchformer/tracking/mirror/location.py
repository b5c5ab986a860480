"""Artifacts lie beside mlflow.db, wherever the checkout was moved or copied to.

MLflow writes the absolute address of the artifacts into its database, for an experiment as it is
created and for each of its runs. After `mv`, a new run would make the old folder again, and in a
copy it would write into the original.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

# Every column that holds the address of an artifact, or of the folder of all.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def follow(database: Path, artifacts: Path) -> None:
    """Make every address in the store one below `artifacts`, which lies beside `database`.

    Only addresses that this project gave are changed: those of experiments whose folder has the
    name of `artifacts`. Call it with the store's lock held, and before MLflow opens the store.

    Raises:
        sqlite3.Error: the database is damaged, locked or not writable.
    """
    here = artifacts.as_uri()
    with closing(sqlite3.connect(database, timeout=5.0)) as connection, connection:
        query = "SELECT DISTINCT artifact_location FROM experiments"
        found = [location for (location,) in connection.execute(query)]
        for old in found:
            if old is None or old == here or not _ours(old, artifacts.name):
                continue
            for table, column in _ADDRESSES:
                # Not LIKE: _ and % in the name of a folder would stand for other letters.
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (here, len(old) + 1, old, len(old) + 1, f"{old}/"),
                )


def _ours(location: str, name: str) -> bool:
    return location.startswith("file:") and location.endswith(f"/{name}")
