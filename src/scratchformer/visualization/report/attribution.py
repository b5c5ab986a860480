"""Items that show what each token does to a classifier's answer."""

from collections.abc import Iterator

from scratchformer.data.preparation.prepared import Info
from scratchformer.visualization.analysis.inspection.attribution import integrated_gradients
from scratchformer.visualization.plots.inspection.token_bars import token_bars
from scratchformer.visualization.plots.labels import printable
from scratchformer.visualization.report.page.items import Item, Picture
from scratchformer.visualization.report.pretrained import PretrainedPair, example_rows


def attribution_items(pair: PretrainedPair, info: Info, count: int) -> Iterator[Item]:
    """What each token does to the answer of the fine-tuned model."""
    labels = pair.after.config.id2label
    for number, example in enumerate(example_rows(pair, info, count), 1):
        text = example.title
        found = integrated_gradients(pair.after, pair.tokenizer, example.row)
        special = set(pair.tokenizer.all_special_tokens)
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
            token_bars(
                {"after": found.values[words] / sizes},
                [found.tokens[place] for place in words],
                f"What speaks for {label}: {text}\n(shares of all contributions; they explain "
                f"{found.change:+.2f} of logit, with an error of {found.error:+.3f})",
            ),
            example.text,
        )
