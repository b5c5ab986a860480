"""Where the pipeline puts its files, relative to the root of the checkout."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TrackName = Literal["scratch", "finetune"]
SplitName = Literal["train", "valid", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")
STAGES = ("prepare", "tokenize", "train_scratch", "finetune", "evaluate", "visualize")

PREPARED = Path("data/prepared")
TOKENIZED = Path("data/tokenized")
TOKENIZERS = Path("models/tokenizers")
PRETRAINED = Path("models/pretrained")
SCRATCH_MODEL = Path("models/scratch")
FINETUNED_MODEL = Path("models/finetuned")
CALIBRATION = Path("models/calibration")
REPORTS = Path("reports")
DATA_REPORT = REPORTS / "data.json"
REJECTED_ROWS = REPORTS / "rejected.jsonl"
TOKENS_REPORT = REPORTS / "tokens.json"
HISTORY = REPORTS / "history"
METRICS = REPORTS / "metrics.json"
PREDICTIONS = REPORTS / "predictions"
FIGURES = REPORTS / "figures"
PLOTS = REPORTS / "plots"
HTML_REPORT = REPORTS / "report.html"
PLAYGROUND = REPORTS / "playground.html"


@dataclass(frozen=True)
class Track:
    """One way of the data through the pipeline.

    Attributes:
        name: as params.yaml says it.
        title: as a person reads it.
        stage: the stage that trains its model.
        model: the folder of that model.
        history: the folder of its curves.
        system: what its model is called among the systems of metrics.json.
    """

    name: TrackName
    title: str
    stage: str
    model: Path
    history: Path
    system: str


TRACKS: Mapping[TrackName, Track] = {
    track.name: track
    for track in (
        Track(
            "scratch",
            "From scratch",
            stage="train_scratch",
            model=SCRATCH_MODEL,
            history=HISTORY / "scratch",
            system="scratch",
        ),
        Track(
            "finetune",
            "Fine-tuning",
            stage="finetune",
            model=FINETUNED_MODEL,
            history=HISTORY / "finetune",
            system="after",
        ),
    )
}
