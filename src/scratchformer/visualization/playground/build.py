"""The playground of the trained model, or a page that says why there is none."""

from html import escape
from pathlib import Path

from scratchformer.base.files import write_whole
from scratchformer.base.layout import SCRATCH_MODEL, TRACKS
from scratchformer.base.tasks import TASKS
from scratchformer.text.inputs import load_scratch_inputs
from scratchformer.text.tokenizers import load_tokenizers
from scratchformer.transformer import Transformer, load_model
from scratchformer.visualization.analysis.examples import choose_examples
from scratchformer.visualization.analysis.predictions import (
    UnavailableError,
    load_predictions,
    right_rows,
)
from scratchformer.visualization.playground.pack import obstacle
from scratchformer.visualization.playground.page import write_playground

EXAMPLES = 6
"""Test texts to begin with."""


def build_playground(task: str, page: Path) -> str | None:
    """Write `page` for the model of models/scratch; returns why it cannot run there, if so.

    The page is an output of the stage, so it is written in any case.

    Args:
        task: the name of the track's task.
    """
    model, tokenizers = load_model(SCRATCH_MODEL), load_tokenizers(SCRATCH_MODEL)
    rules = load_scratch_inputs(SCRATCH_MODEL).rules
    reason = obstacle(model, tokenizers)
    if reason is not None:
        with write_whole(page) as temporary:
            temporary.write_text(_excuse(reason), encoding="utf-8")
        return reason
    # `obstacle` has found just this.
    assert isinstance(model, Transformer)
    assert tokenizers.target is not None and rules.max_target_length is not None
    write_playground(
        model,
        (tokenizers.source, tokenizers.target),
        (rules.max_source_length, rules.max_target_length),
        _examples(TASKS[task].input_field),
        page,
    )
    return None


def _examples(field: str) -> list[str]:
    """Test texts that the model gets right, of median length and longer; none where evaluate wrote
    no predictions."""
    try:
        table = load_predictions(f"{TRACKS['scratch'].name}-model").drop_duplicates(field)
    except UnavailableError:
        return []
    texts = table[field].astype(str).tolist()
    chosen = choose_examples(
        [len(text) for text in texts], right_rows(table).tolist(), table["id"].tolist(), EXAMPLES
    )
    return [texts[place] for place in chosen]


def _excuse(reason: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'\">\n"
        "<title>Playground: the Transformer from scratch</title>\n<h1>Playground</h1>\n"
        f"<p>There is no playground for this model: {escape(reason)}.</p>\n</html>\n"
    )
