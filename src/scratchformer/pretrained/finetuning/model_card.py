"""The model card: what a fine-tuned model was made of, by whom it may be used, and its limits.

After Mitchell et al. 2019, "Model Cards for Model Reporting" (https://arxiv.org/abs/1810.03993).
Written from the run, so that nothing in it is typed by hand, and without times, places and names
of machines, so that equal runs give equal bytes. It knows the validation split only: the scores on
the test split are made later and elsewhere (`scratchformer card` adds them).
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from scratchformer.base.registry import Registry
from scratchformer.data.preparation.prepared import Info
from scratchformer.params import Params

if TYPE_CHECKING:
    from scratchformer.pretrained.finetuning.finetuning import FinetuneReport

# What the hub calls a task.
PIPELINES: Registry[str] = Registry(
    "task", {"classification": "text-classification", "seq2seq": "text2text-generation"}
)


def model_card(
    params: Params, info: Info, report: "FinetuneReport", pretrained: Path, architecture: str
) -> str:
    """The card as Markdown, with the head of YAML that the Hugging Face hub reads.

    Args:
        pretrained: the folder of the pretrained model; its own card may name a licence.
        architecture: name of the class of `transformers` that loads the model.
    """
    settings, source = params.finetune, params.pretrained
    name = Path(source.name).name if source.kind == "folder" else source.name
    revision = f" at revision {source.revision}" if source.revision else ""
    licence = licence_of(pretrained)
    counts = ", ".join(f"{rows:,} {split}" for split, rows in info.counts.items())
    labels = [
        f"- {_code(label.name)}" + (f": {_plain(label.description)}" if label.description else "")
        for label in info.labels
    ]
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            f"pipeline_tag: {PIPELINES[info.task]}",
            "---",
            f"# {name}, fine-tuned on {info.name}",
            "",
            f"A `{architecture}` with {report.parameters:,} parameters. It loads with plain "
            "`transformers`; the weights are safetensors.",
            "",
            "## Made from",
            "",
            f"- Pretrained model: {name} ({source.kind}{revision}); its licence: {licence}.",
            f"- Data: {info.description} Origin: {info.origin} Licence of the data: {info.licence}",
            f"- Rows: {counts}. "
            + ("Rows of one group are in one split." if info.grouped else "Rows are independent."),
            *(["", "## Labels", "", *labels] if labels else []),
            "",
            "## Training",
            "",
            f"Seed {params.run.seed}; {report.steps:,} updates, {report.tokens:,} input tokens; "
            f"ended by: {report.stop_reason}. {report.trained_parameters:,} parameters were "
            f"trained. The weights are those after update {report.best_step:,}, the best on the "
            "validation split.",
            "",
            "| parameter | value |",
            "|---|---|",
            *(f"| `{key}` | {value} |" for key, value in settings.model_dump().items()),
            "",
            "## Scores on the validation split",
            "",
            "The weights were chosen by these scores, which makes them too good by a little.",
            "",
            "| score | value |",
            "|---|---:|",
            *(f"| {key} | {value:.4f} |" for key, value in report.valid.items()),
            "",
            "## Limits",
            "",
            f"- It saw texts of up to {params.tokenize.finetune.max_length} tokens; longer ones "
            "are cut.",
            "- It was trained and scored on this one source of data. Nothing is known of texts of "
            "another kind, language or time.",
            "- Its probabilities are as good as the calibration table of the report says, and no "
            "better.",
            *(
                ["- It always names one of the labels above, also for texts that fit none."]
                if labels
                else ["- What it writes may be fluent and wrong."]
            ),
            "",
        ]
    )


def _code(text: str) -> str:
    """Text of the data as Markdown's code: nothing in it is a link or markup."""
    if "`" not in text:
        return f"`{text}`"
    fence = "`" * (1 + max(map(len, re.findall("`+", text))))
    return f"{fence} {text} {fence}"


def _plain(text: str) -> str:
    """Text of the data as text: what Markdown or HTML would read as markup is escaped."""
    return re.sub(r"([\\`*_\[\]<>&!|#])", r"\\\1", " ".join(text.split()))


def licence_of(folder: Path) -> str:
    """What the card in a model folder names as its licence (`license:` in its head of YAML)."""
    card = folder / "README.md"
    if card.is_file():
        head, _, _ = card.read_text(encoding="utf-8").removeprefix("---\n").partition("\n---")
        for line in head.splitlines():
            key, _, value = line.partition(":")
            if key == "license" and value.strip():
                return value.strip()
    return "not stated in its folder; ask its publisher"
