"""Chapter: inside the pretrained encoder, before and after fine-tuning."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from scratchformer.data.tokenized.columns import input_table
from scratchformer.data.tokenized.texts import encode_texts
from scratchformer.pretrained.hub.loading import encoder_of
from scratchformer.pretrained.inference import embed
from scratchformer.text.inputs import ModelInputs
from scratchformer.visualization.analysis.attention import (
    MAX_TOKENS,
    Attention,
    attention_rollout,
    choose_examples,
    encoder_attention,
)
from scratchformer.visualization.analysis.attribution import integrated_gradients
from scratchformer.visualization.analysis.predictions import (
    Names,
    UnavailableError,
    load_predictions,
)
from scratchformer.visualization.analysis.projection import neighbour_agreement, neighbourhoods
from scratchformer.visualization.analysis.text import printable, shorten
from scratchformer.visualization.plots.attention import attention_grid
from scratchformer.visualization.plots.embeddings import sentence_map
from scratchformer.visualization.plots.token_bars import token_flow
from scratchformer.visualization.report.page import Chapter, Item, Picture, or_missing

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


_BATCH = 128  # texts embedded together


@dataclass(frozen=True)
class Encoders:
    """The same architecture with the weights of before and of after, and their tokenizer.

    Both are loaded with eager attention: fused kernels give no maps.
    """

    before: "PreTrainedModel"
    after: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    inputs: ModelInputs


def finetune_chapter(
    encoders: Encoders, names: Names, examples: int, points: int, seed: int
) -> Chapter:
    """Attention of `examples` test rows and a map of at most `points` of them."""
    return Chapter(
        "finetune-inside",
        "Inside the pretrained model, before and after",
        "The same sentences under the weights as they were published and as fine-tuning left "
        "them. Attention is a view of the machinery, not an explanation of the answer (Jain and "
        "Wallace 2019).",
        chain(
            or_missing("Map of the test rows", _sentences(encoders, names, points, seed)),
            or_missing("Attention before and after", _attention(encoders, examples)),
            or_missing("Gradient attribution", _attributions(encoders, examples)),
        ),
    )


def _sentences(encoders: Encoders, names: Names, points: int, seed: int) -> Iterator[Item]:
    table = load_predictions("finetune-after")
    if len(table) > points:
        table = table.sample(points, random_state=seed).sort_index()
    labels = np.array(names.show(table["label"]))
    panels = []
    for side, model in (("before", encoders.before), ("after", encoders.after)):
        read = encode_texts(encoders.inputs, table["text"].tolist())
        vectors = embed(encoder_of(model), input_table(read), _BATCH)
        agreement = neighbour_agreement(vectors, labels)
        caption = f"{side}: {agreement:.0%} of the 10 nearest rows share the class"
        panels.append((caption, neighbourhoods(vectors, seed)))
    yield Picture(
        "finetune-embeddings",
        "Map of the test rows",
        "Each point is a test row: the mean of its last hidden states, the same formula for both "
        "models, laid out by t-SNE so that near rows stay near (distances between clusters mean "
        "nothing). The percentages are measured before the projection.",
        sentence_map(
            panels, labels.tolist(), names.all_shown,
            f"{len(table):,} test rows, t-SNE of mean hidden states, seed {seed}",
        ),
    )  # fmt: skip


def _examples(encoders: Encoders, count: int) -> list[str]:
    """What the model reads of the test rows that are looked at."""
    table = load_predictions("finetune-after").head(5000)
    lengths = [len(ids) for ids in encode_texts(encoders.inputs, table["text"].tolist()).ids]
    right = (table["prediction"] == table["label"]).tolist()
    rows = choose_examples(lengths, right, table["id"].tolist(), count)
    if not rows:
        raise UnavailableError(f"No test row has 2 to {MAX_TOKENS} tokens.")
    return table.iloc[rows]["text"].tolist()


def _attention(encoders: Encoders, count: int) -> Iterator[Item]:
    for number, whole in enumerate(_examples(encoders, count), 1):
        text = shorten(printable(whole), 80)
        maps = {
            side: encoder_attention(model, encoders.inputs, whole)
            for side, model in (("before", encoders.before), ("after", encoders.after))
        }
        highest = float(max(each.maps.max() for each in maps.values()))
        for side, each in maps.items():
            yield Picture(
                f"finetune-attention-{number}-{side}",
                f"Attention {side} fine-tuning: {text}",
                "Every layer and head for one sentence; both pictures have the same colour scale. "
                "Bright columns are tokens that nearly all positions look at, often [CLS], [SEP] "
                "or the full stop: a head's way of doing nothing.",
                attention_grid(
                    each.maps, each.query_tokens, each.key_tokens,
                    f"Attention {side} fine-tuning, every layer and head: {text}",
                    each.query_name, each.key_name, highest,
                ),
            )  # fmt: skip
        yield _rollout(maps, encoders.tokenizer.all_special_tokens, number, text)


def _rollout(
    maps: Mapping[str, Attention], special: Sequence[str], number: int, text: str
) -> Picture:
    """How much of the first token's final state comes from each word of the text."""
    tokens = maps["after"].key_tokens
    words = [place for place, token in enumerate(tokens) if token not in special]
    shares = {side: attention_rollout(each.maps)[0] for side, each in maps.items()}
    rest = ", ".join(f"{1 - share[words].sum():.0%} {side}" for side, share in shares.items())
    return Picture(
        f"finetune-rollout-{number}",
        f"Attention rollout: {text}",
        f"Attention traced through all layers to the first token, {tokens[0]}, whose final state "
        "the classifier reads: from which tokens it is mixed (Abnar and Zuidema 2020). Rollout "
        "knows nothing of values and feed-forward layers; compare tokens, not percentages.",
        token_flow(
            {side: share[words] for side, share in shares.items()},
            [tokens[place] for place in words],
            f"Where the final state of {tokens[0]} comes from: {text}\n"
            f"(not drawn: special tokens, {rest})",
        ),
    )


def _attributions(encoders: Encoders, count: int) -> Iterator[Item]:
    """What each token does to the answer of the fine-tuned model."""
    labels = encoders.after.config.id2label
    for number, whole in enumerate(_examples(encoders, count), 1):
        text = shorten(printable(whole), 80)
        found = integrated_gradients(encoders.after, encoders.tokenizer, encoders.inputs, whole)
        special = set(encoders.tokenizer.all_special_tokens)
        words = [place for place, token in enumerate(found.tokens) if token not in special]
        sizes = abs(found.values[words]).sum() or 1.0
        label = printable(str(labels[found.label]))
        yield Picture(
            f"finetune-attribution-{number}",
            f"Gradient attribution: {text}",
            "Integrated gradients (Sundararajan, Taly and Yan 2017): what each token adds to the "
            f"logit of the answer, {label}, when the text grows out of padding; bars to the left "
            "speak against it. Where this and the attention above disagree, neither is the reason "
            "of the answer: attention shows a layer's mixing, this one the slope along one line "
            "from one arbitrary empty text.",
            token_flow(
                {"after": found.values[words] / sizes},
                [found.tokens[place] for place in words],
                f"What speaks for {label}: {text}\n(shares of all contributions; they explain "
                f"{found.change:+.2f} of logit, with an error of {found.error:+.3f})",
            ),
        )
