"""Items that show the attention of a pretrained model, before and after fine-tuning."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scratchformer.base.tasks import TASKS, Task
from scratchformer.data.preparation.prepared import Info
from scratchformer.data.tokenized.texts import encode_texts
from scratchformer.text.inputs import ModelInputs
from scratchformer.visualization.analysis.examples import MAX_TOKENS, choose_examples
from scratchformer.visualization.analysis.inspection.attention import (
    Attention,
    pretrained_attention,
)
from scratchformer.visualization.analysis.inspection.attention_summary import attention_rollout
from scratchformer.visualization.analysis.inspection.model_input import ModelInput, model_input
from scratchformer.visualization.analysis.predictions import (
    UnavailableError,
    load_predictions,
    load_table,
    pairs_of,
    right_rows,
    shown_text,
)
from scratchformer.visualization.plots.inspection.attention import attention_grid
from scratchformer.visualization.plots.inspection.token_bars import token_bars
from scratchformer.visualization.plots.labels import printable, shorten
from scratchformer.visualization.report.page.items import (
    Atlas,
    AtlasExample,
    Item,
    Picture,
    each_or_missing,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

KINDS = {
    "encoder": (
        "Encoder self-attention",
        "Where each source position looks while the source is read. Diagonals next to the main "
        "one are heads that look at neighbours; bright columns are positions that many use, "
        "often [CLS], [SEP] or the full stop: a head's way of doing nothing.",
    ),
    "decoder": (
        "Decoder self-attention",
        "Where the decoder looks in what it has written, to predict the token of the row. The "
        "upper right is empty: the future is masked.",
    ),
    "cross": (
        "Cross-attention",
        "Which source tokens the decoder reads to predict the token of the row. A staircase from "
        "upper left to lower right is an alignment that the model found by itself.",
    ),
}
ATLAS_HOW = (
    "Choose a text, a kind of attention and a head, then a token: its colours show what it reads. "
    "Heads are sorted by what they do in this text, measured; the number is the share of their "
    "weight that goes there."
)
_TRIED = 20  # rows of an outcome, of which one must be short enough to be drawn
_FIRST_ROWS = 5000  # hold every length; tokenizing millions would take longer than drawing


@dataclass(frozen=True)
class PretrainedPair:
    """The same architecture with the weights of before and of after, and their tokenizer.

    Both are loaded with eager attention: fused kernels give no maps.
    """

    before: "PreTrainedModel"
    after: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    inputs: ModelInputs

    def read(self, text: str, second: str | None = None) -> ModelInput:
        """What the models read of a text or a pair; a user types a pair with a tab in it."""
        return model_input(self.after, self.inputs, text, second)

    def reads_first_token(self, row: ModelInput) -> bool:
        """Whether the classifier reads the state of the first token, as BERT's does."""
        two_sided = self.after.config.is_encoder_decoder
        return not two_sided and row.tokens[0] == self.tokenizer.cls_token

    def own_example(self, text: str, task: Task) -> "Example":
        """A text of the user, and what the fine-tuned model writes for it if it writes."""
        import torch

        row, answer = self.read(text), None
        if len(row.tokens) > MAX_TOKENS:
            raise UnavailableError(
                f"{shorten(printable(text), 40)!r} has {len(row.tokens)} tokens; at most "
                f"{MAX_TOKENS} can be shown."
            )
        if not task.labelled:
            with torch.inference_mode():
                ids = self.after.generate(
                    **row.batch, num_beams=1, do_sample=False, max_new_tokens=MAX_TOKENS
                )
            answer = self.tokenizer.decode(ids[0], skip_special_tokens=True)
        return Example(row, answer, shorten(printable(text.replace("\t", " / ")), 80))

    def attention(self, row: ModelInput, answer: str | None) -> dict[str, dict[str, Attention]]:
        """kind → side ("before", "after") → maps, for a row and what was written for it."""
        import torch

        written = None
        if answer is not None:
            (ids,) = self.inputs.encode_targets([answer]).ids
            tensor = torch.tensor([ids], device=self.after.device)
            written = (tensor, self.tokenizer.convert_ids_to_tokens(ids))
        sides = {
            side: pretrained_attention(model, row.batch, row.tokens, written)
            for side, model in (("before", self.before), ("after", self.after))
        }
        return {
            kind: {side: found[kind] for side, found in sides.items()} for kind in sides["after"]
        }


@dataclass(frozen=True)
class Example:
    """A row that is looked at: what the model reads, what it answered, and how it is called."""

    row: ModelInput
    answer: str | None  # written by a decoder; null where the answer is a label
    title: str
    text: str | None = None  # of a test row


def example_rows(pair: PretrainedPair, info: Info, count: int) -> list[Example]:
    """The test rows that are looked at.

    Raises:
        UnavailableError: none is short enough.
    """
    task = TASKS[info.task]
    table = load_predictions("finetune-after").head(_FIRST_ROWS)
    pairs: list[tuple[str, str | None]]
    pairs = pairs_of(table) if task.labelled else [(text, None) for text in table[task.input_field]]
    texts = [text for text, _ in pairs]
    seconds = [second for _, second in pairs if second is not None] or None
    # The length of each row first: asking the library for all at once takes a tenth of the time.
    lengths = [len(ids) for ids in encode_texts(pair.inputs, texts, seconds).ids]
    answers = table["prediction"].tolist()
    if not task.labelled:
        written = pair.inputs.encode_targets(answers).ids
        lengths = [max(read, len(ids)) for read, ids in zip(lengths, written, strict=True)]
    chosen = choose_examples(lengths, right_rows(table).tolist(), table["id"].tolist(), count)
    if not chosen:
        raise UnavailableError(f"No test row has 2 to {MAX_TOKENS} tokens.")
    return [
        Example(
            pair.read(*pairs[place]),
            None if task.labelled else answers[place],
            shorten(printable(shown_text(*pairs[place])), 80),
            shown_text(*pairs[place]),
        )
        for place in chosen
    ]


def changed_rows(pair: PretrainedPair, info: Info) -> list[Example]:
    """Of the rows that fine-tuning fixed, broke or left wrong, the one whose true class moved
    most: where a person wants to see the attention. None of a model that writes."""
    if not TASKS[info.task].labelled:
        return []
    try:
        table = load_table("finetune-changes", ["id", "outcome", "text", "text_pair"])
    except UnavailableError:
        return []
    examples = []
    for outcome in ("fixed", "broken", "still wrong"):
        part = table[table["outcome"] == outcome]
        order = part.assign(size=-part["gain"].abs()).sort_values(["size", "id"])
        for texts in pairs_of(order.head(_TRIED)):
            row = pair.read(*texts)
            if len(row.tokens) <= MAX_TOKENS:
                shown = shown_text(*texts)
                title = f"{outcome}: {shorten(printable(shown), 80)}"
                examples.append(Example(row, None, title, shown))
                break
    return examples


def attention_items(
    pair: PretrainedPair, info: Info, count: int, own_texts: Sequence[str]
) -> Iterator[Item]:
    """Every layer and head of every kind of attention, before and after: to walk through, and of
    the test rows as pictures.

    Args:
        own_texts: texts of the user, looked at beside the `count` test rows.
    """
    examples = example_rows(pair, info, count)
    maps = [pair.attention(example.row, example.answer) for example in examples]
    own, missing = each_or_missing(
        "A text of visualize.texts.finetune",
        own_texts,
        lambda text: pair.own_example(text, TASKS[info.task]),
    )
    yield Atlas(
        "finetune-atlas",
        "Attention before and after, to walk through",
        ATLAS_HOW,
        [
            AtlasExample(
                example.title,
                {KINDS[kind][0]: sides for kind, sides in found.items()},
                example.text,
            )
            for example, found in [
                *zip(examples, maps, strict=True),
                *(
                    (each, pair.attention(each.row, each.answer))
                    for each in [*own, *changed_rows(pair, info)]
                ),
            ]
        ],
    )
    yield from missing
    for number, (example, kinds) in enumerate(zip(examples, maps, strict=True), 1):
        for kind, sides in kinds.items():
            title, how = KINDS[kind]
            highest = float(max(each.maps.max() for each in sides.values()))
            for side, each in sides.items():
                yield Picture(
                    f"finetune-{kind}-attention-{number}-{side}",
                    f"{title} {side} fine-tuning: {example.title}",
                    f"{how} Both pictures have the same colour scale.",
                    attention_grid(
                        each.maps, each.query_tokens, each.key_tokens,
                        f"{title} {side} fine-tuning, every layer and head: {example.title}",
                        each.query_name, each.key_name, highest,
                    ),
                )  # fmt: skip
        if pair.reads_first_token(example.row):
            yield _rollout(
                kinds["encoder"], pair.tokenizer.all_special_tokens, number, example.title
            )


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
        token_bars(
            {side: share[words] for side, share in shares.items()},
            [tokens[place] for place in words],
            f"Where the final state of {tokens[0]} comes from: {text}\n"
            f"(not drawn: special tokens, {rest})",
        ),
    )


