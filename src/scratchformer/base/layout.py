"""Where the pipeline puts its files, relative to the root of the checkout."""

from pathlib import Path
from typing import Literal

Track = Literal["scratch", "finetune"]
TRACKS: tuple[Track, ...] = ("scratch", "finetune")
SplitName = Literal["train", "valid", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")
STAGES = ("prepare", "tokenize", "train_scratch", "finetune", "evaluate", "visualize")

PREPARED = Path("data/prepared")
TOKENIZED = Path("data/tokenized")
TOKENIZERS = Path("models/tokenizers")
SCRATCH_MODEL = Path("models/scratch")
FINETUNED_MODEL = Path("models/finetuned")
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
