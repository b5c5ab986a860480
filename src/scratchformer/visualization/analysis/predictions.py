"""What the earlier stages left for the report; what is missing is named."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from scratchformer.base.layout import PREDICTIONS, TRACKS, TrackName
from scratchformer.data.preparation.prepared import Info
from scratchformer.evaluation.tables.csv_injection import original


class UnavailableError(Exception):
    """What a figure needs does not exist; the message is the reason that the report gives."""


@dataclass(frozen=True)
class Names:
    """The classes of a track in the order of their ids."""

    names: list[str]
    shown: dict[str, str]  # name → "name · description"

    def show(self, labels: pd.Series) -> list[str]:
        """Labels as they are written in figures and tables."""
        return [self.shown.get(label, label) for label in labels]

    @property
    def all_shown(self) -> list[str]:
        return [self.shown[name] for name in self.names]


def names_of(info: Info) -> Names:
    """Names and descriptions of the classes."""
    return Names(
        [label.name for label in info.labels],
        {
            label.name: f"{label.name} · {label.description}"
            if label.description and label.description != label.name
            else label.name
            for label in info.labels
        },
    )


def load_history(track: TrackName, part: str) -> pd.DataFrame:
    """reports/history/<track>/<part>.csv.

    Raises:
        UnavailableError: the file is absent or holds no row.
    """
    path = TRACKS[track].history / f"{part}.csv"
    if not path.exists():
        raise UnavailableError(f"{path.as_posix()} does not exist.")
    history = pd.read_csv(path)
    if history.empty:
        raise UnavailableError(f"{path.as_posix()} holds no row: the training was too short.")
    return history


def load_predictions(name: str) -> pd.DataFrame:
    """reports/predictions/<name>.parquet.

    Raises:
        UnavailableError: `evaluate` wrote no such file.
    """
    path = PREDICTIONS / f"{name}.parquet"
    if not path.exists():
        raise UnavailableError(f"{path.as_posix()} does not exist.")
    table = pd.read_parquet(path)
    if table.empty:
        raise UnavailableError(f"{path.as_posix()} holds no row.")
    return table


def load_table(name: str, texts: Sequence[str]) -> pd.DataFrame:
    """reports/predictions/<name>.csv, a table that `evaluate` made of the predictions.

    The columns `texts` stay text: a class named "07" is no number and a row "NA" is not missing.

    Raises:
        UnavailableError: there is no such table, or it holds no row.
    """
    path = PREDICTIONS / f"{name}.csv"
    if not path.exists():
        raise UnavailableError(f"{path.as_posix()} does not exist.")
    try:
        return pd.read_csv(path, converters=dict.fromkeys(texts, original))
    except pd.errors.EmptyDataError:
        raise UnavailableError(f"{path.as_posix()} holds no row.") from None


def pairs_of(rows: pd.DataFrame) -> list[tuple[str, str | None]]:
    """The text of each row of a classification, and the second one where rows are pairs."""
    seconds = rows["text_pair"] if "text_pair" in rows else [None] * len(rows)
    return list(zip(rows["text"], seconds, strict=True))


def shown_text(text: str, second: str | None) -> str:
    """One text, or two as `first / second`."""
    return text if second is None else f"{text} / {second}"


def best_control(track: TrackName) -> str | None:
    """The prediction file of the control that is right most often; null if there is none."""
    own = {f"{track}-{role}" for role in ("model", "before", "after")}
    found = {path.stem for path in PREDICTIONS.glob(f"{track}-*.parquet")} - own
    return max(sorted(found), key=_share_right, default=None)


def right_rows(predictions: pd.DataFrame) -> "pd.Series[bool]":
    """Whether each row of a table of predictions is right: exactly the text, or the label."""
    if "exact" in predictions:
        return predictions["exact"]
    return predictions["prediction"] == predictions["label"]


def _share_right(name: str) -> float:
    return float(right_rows(load_predictions(name)).mean())
