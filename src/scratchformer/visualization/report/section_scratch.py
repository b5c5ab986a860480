"""Section: inside the from-scratch model."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import pandas as pd

from scratchformer.base.tasks import Task
from scratchformer.data.tokenized.texts import encode_texts
from scratchformer.text.inputs import ModelInputs
from scratchformer.text.tokenizers import SPECIAL_TOKENS
from scratchformer.visualization.analysis.attention import (
    Attention,
    scratch_attention,
    token_embeddings,
)
from scratchformer.visualization.analysis.attention_summary import sharpest_layer
from scratchformer.visualization.analysis.examples import MAX_TOKENS, choose_examples
from scratchformer.visualization.analysis.predictions import (
    UnavailableError,
    load_predictions,
    right_rows,
)
from scratchformer.visualization.analysis.projection import principal_components
from scratchformer.visualization.analysis.tokens import token_kinds
from scratchformer.visualization.plots.attention import attention_grid, attention_map
from scratchformer.visualization.plots.embeddings import token_map
from scratchformer.visualization.plots.labels import printable, shorten
from scratchformer.visualization.report.page import Item, Picture, Section, or_missing
from scratchformer.visualization.report.pretrained import KINDS

if TYPE_CHECKING:
    from scratchformer.text.tokenizers import TokenizerPair
    from scratchformer.transformer.weights import Model

@dataclass(frozen=True)
class ScratchModel:
    """The from-scratch model with all that belongs to it."""

    model: "Model"
    tokenizers: "TokenizerPair"
    inputs: ModelInputs
    task: Task


def scratch_section(scratch: ScratchModel, examples: int, points: int) -> Section:
    """Attention of `examples` test rows, and at most `points` token embeddings."""
    return Section(
        "scratch-inside",
        "Inside the from-scratch model",
        "Attention shows what a position reads from others, not why the model answers as it does: "
        "values can be small where weights are large, and later layers mix further (Jain and "
        "Wallace 2019). Read the maps as a view of the machinery, not as an explanation.",
        chain(
            or_missing("Attention of the from-scratch model", _attention(scratch, examples)),
            _embeddings(scratch, points),
        ),
    )


def _attention(scratch: ScratchModel, count: int) -> Iterator[Item]:
    predictions = load_predictions("scratch-model")
    rows = example_rows(predictions, scratch, count)
    if rows.empty:
        raise UnavailableError(f"No test row has 2 to {MAX_TOKENS} tokens.")
    for number, row in enumerate(rows.to_dict("records"), 1):
        source, answer = row["input"], row["prediction"]
        # A classifier answers with a class, which no decoder has written.
        target = None if scratch.task.labelled else answer
        read, said = (shorten(printable(text), 50) for text in (source, answer))
        shown = f"{read} → {said or '(nothing)'}"
        for kind, attention in scratch_attention(
            scratch.model, scratch.tokenizers, scratch.inputs, source, target
        ).items():
            title, how = KINDS[kind]
            yield Picture(
                f"scratch-{kind}-attention-{number}",
                f"{title}: {shown}",
                how,
                attention_grid(
                    attention.maps, attention.query_tokens, attention.key_tokens,
                    f"{title}, every layer and head: {shown}",
                    attention.query_name, attention.key_name,
                ),
            )  # fmt: skip
            if kind == "cross":
                yield _readable(attention, number, shown)


def _readable(attention: Attention, number: int, shown: str) -> Picture:
    layer = sharpest_layer(attention.maps)
    heads = attention.maps.shape[1]
    return Picture(
        f"scratch-alignment-{number}",
        f"Alignment: {shown}",
        "The same cross-attention, averaged over the heads of the layer whose average is "
        "sharpest. Each row sums to one; weights from 0.05 are written out where there is room.",
        attention_map(
            attention.maps[layer].mean(axis=0), attention.query_tokens, attention.key_tokens,
            f"Cross-attention of layer {layer + 1}, mean of {heads} heads: {shown}",
            attention.query_name, attention.key_name,
        ),
    )  # fmt: skip


def example_rows(predictions: pd.DataFrame, scratch: ScratchModel, count: int) -> pd.DataFrame:
    """The test rows to look at, with the column `input` for what the model read."""
    column = scratch.task.input_field
    # A few thousand rows hold every length; encoding millions would take longer than drawing.
    few = predictions.head(5000)
    lengths = [len(ids) for ids in encode_texts(scratch.inputs, few[column].tolist()).ids]
    if scratch.inputs.target is not None:
        predicted = scratch.inputs.encode_targets(few["prediction"].tolist()).ids
        lengths = [max(a, len(b)) for a, b in zip(lengths, predicted, strict=True)]
    chosen = choose_examples(lengths, right_rows(few).tolist(), few["id"].tolist(), count)
    return few.iloc[chosen].rename(columns={column: "input"})


def _embeddings(scratch: ScratchModel, points: int) -> Iterator[Item]:
    vectors, tokens, side = token_embeddings(scratch.model, scratch.tokenizers)
    # Some of the special tokens are never trained and would only stretch the axes.
    chosen = slice(len(SPECIAL_TOKENS), len(SPECIAL_TOKENS) + points)
    vectors, tokens = vectors[chosen], tokens[chosen]
    projected, shares = principal_components(vectors)
    yield Picture(
        "scratch-embeddings",
        f"Embeddings of the {side} tokens",
        "Each token's learned vector, projected on the two directions in which the vectors differ "
        "most. Tokens that behave alike come to lie together, although nothing told the model "
        "which ones do; the axes say how much of the whole these two directions hold.",
        token_map(
            projected, tokens, token_kinds(tokens), shares,
            f"Embeddings of {len(tokens):,} {side} tokens, principal components",
        ),
    )  # fmt: skip
