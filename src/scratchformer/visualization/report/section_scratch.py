"""Section: inside the from-scratch model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import pandas as pd

from scratchformer.base.tasks import Task
from scratchformer.data.tokenized.texts import encode_texts
from scratchformer.runtime.device import device_of
from scratchformer.text.inputs import ModelInputs
from scratchformer.text.tokenizers import SPECIAL_TOKENS
from scratchformer.visualization.analysis.examples import MAX_TOKENS, choose_examples
from scratchformer.visualization.analysis.inspection.attention import (
    Attention,
    scratch_attention,
    token_embeddings,
)
from scratchformer.visualization.analysis.inspection.attention_summary import sharpest_layer
from scratchformer.visualization.analysis.inspection.projection import principal_components
from scratchformer.visualization.analysis.inspection.tokens import token_kinds
from scratchformer.visualization.analysis.predictions import (
    UnavailableError,
    load_predictions,
    right_rows,
)
from scratchformer.visualization.plots.inspection.attention import attention_grid, attention_map
from scratchformer.visualization.plots.inspection.embeddings import token_map
from scratchformer.visualization.plots.labels import printable, shorten
from scratchformer.visualization.report.page.items import (
    Atlas,
    AtlasExample,
    Item,
    Picture,
    Section,
    each_or_missing,
    or_missing,
)
from scratchformer.visualization.report.pretrained import ATLAS_HOW, KINDS

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


def scratch_section(
    scratch: ScratchModel, examples: int, points: int, own_texts: Sequence[str]
) -> Section:
    """Attention of `examples` test rows and of texts of the user, and at most `points` token
    embeddings."""
    return Section(
        "scratch-inside",
        "Inside the from-scratch model",
        "Attention shows what a position reads from others, not why the model answers as it does: "
        "values can be small where weights are large, and later layers mix further (Jain and "
        "Wallace 2019). Read the maps as a view of the machinery, not as an explanation.",
        chain(
            or_missing(
                "Attention of the from-scratch model", _attention(scratch, examples, own_texts)
            ),
            _embeddings(scratch, points),
        ),
    )


def _attention(
    scratch: ScratchModel, count: int, own_texts: Sequence[str]
) -> Iterator[Item]:
    predictions = load_predictions("scratch-model")
    rows = example_rows(predictions, scratch, count)
    if rows.empty:
        raise UnavailableError(f"No test row has 2 to {MAX_TOKENS} tokens.")
    looked_at = [(row["input"], row["prediction"]) for row in rows.to_dict("records")]
    own, missing = each_or_missing(
        "A text of visualize.texts.scratch",
        own_texts,
        lambda text: _maps(scratch, text, _answer(scratch, text)),
    )
    found = [*(_maps(scratch, *each) for each in looked_at), *own]
    yield Atlas(
        "scratch-atlas",
        "Attention of the from-scratch model, to walk through",
        ATLAS_HOW,
        [
            AtlasExample(
                shown,
                {KINDS[kind][0]: {"from scratch": each} for kind, each in maps.items()},
                looked_at[place][0] if place < len(looked_at) else None,
            )
            for place, (shown, maps) in enumerate(found)
        ],
    )
    yield from missing
    for number, (shown, maps) in enumerate(found[: len(looked_at)], 1):
        for kind, attention in maps.items():
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


def _maps(scratch: ScratchModel, source: str, answer: str) -> tuple[str, dict[str, Attention]]:
    """How a row is called, and its maps. A classifier's answer was written by no decoder."""
    target = None if scratch.task.labelled else answer
    read, said = (shorten(printable(text), 50) for text in (source, answer))
    maps = scratch_attention(scratch.model, scratch.tokenizers, scratch.inputs, source, target)
    return f"{read} → {said or '(nothing)'}" if answer else read, maps


def _answer(scratch: ScratchModel, text: str) -> str:
    """What the model writes for a text of the user; nothing of a classifier.

    Raises:
        UnavailableError: the text is too long to be shown.
    """
    import torch

    from scratchformer.transformer import Transformer, greedy

    ids = encode_texts(scratch.inputs, [text]).ids[0]
    if len(ids) > MAX_TOKENS:
        raise UnavailableError(
            f"{shorten(printable(text), 40)!r} has {len(ids)} tokens; at most {MAX_TOKENS} can be "
            "shown."
        )
    if not isinstance(scratch.model, Transformer) or scratch.tokenizers.target is None:
        return ""
    with torch.inference_mode():
        source = torch.tensor([ids], device=device_of(scratch.model))
        written = greedy(scratch.model, source, MAX_TOKENS)
    return str(scratch.tokenizers.target.decode(written.ids[0].tolist()))


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
