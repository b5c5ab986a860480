"""Gates that train copies for a moment: can this model learn, and from its input?"""

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from scratchformer.data.tokenized.batches import Batch
from scratchformer.training.gates.subject import (
    BATCHES_SEARCHED,
    MEMORISED,
    RedGateError,
    Subject,
    fingerprints,
)

TOLERANCE = 0.05  # of ln V
TOO_SURE = 2.0  # nats; unit-variance logits have 1/2
ANY_LOGIT = 10.0
REFERENCES = 5  # of one source in rows of their own: as many as image captions have


@torch.no_grad()
def initial_loss(subject: Subject) -> str:
    """Guessing evenly among V answers costs ln V, whatever the right ones and however smoothed.

    The first weights are not even: by design the logits have variance 1, which costs half a nat,
    and a decoder tied to its embeddings expects every token to come again. Against the 32,000
    tokens of most models both vanish within 5%; against 40 sounds they do not. So what is
    compared with ln V is the loss when the last layer gives equal logits, and of the model's own
    logits it is only asked that they are not absurdly sure.
    """
    few, expected = subject.few, math.log(subject.classes)
    trial = subject.objective.for_trial()
    logits, answers = trial.predict(few)
    real = float(nn.functional.cross_entropy(logits, answers))
    # Without the likeliest answer (the repeated token), the spread is that of the weights.
    rest = logits.sort(dim=-1).values[:, :-1] if logits.shape[-1] > 2 else logits
    sureness = float((rest.logsumexp(-1) - rest.mean(-1)).mean()) - math.log(rest.shape[-1])
    even = nn.Linear(trial.model.config.d_model, logits.shape[-1], device=logits.device)
    even.weight.zero_()
    even.bias.fill_(ANY_LOGIT)  # not zero: softmax does not see it, a loss that is wrong does
    trial.model.output = even
    with torch.enable_grad():
        loss = trial.backward(few, few.tokens) / few.tokens
    if not abs(loss - expected) <= TOLERANCE * expected:
        raise RedGateError(
            f"uniform guessing among {subject.classes} answers costs {loss:.3f} nats, not "
            f"ln {subject.classes} = {expected:.3f} ± {TOLERANCE:.0%}"
        )
    if not sureness <= TOO_SURE:
        raise RedGateError(
            f"the initial logits are too far apart: they cost {sureness:.3g} nats more than equal "
            f"ones, and those of variance 1 cost 0.5 more (the loss is {real:.3g}, ln V is "
            f"{expected:.3f})"
        )
    return f"{loss:.3f} by uniform guessing (ln {subject.classes}), {real:.2f} as initialised"


def input_matters(subject: Subject) -> str:
    """Two copies learn the same rows by heart, one without their sources: it must do worse.

    It cannot know which row it has before it. Once it has learned all else, its loss is the
    entropy of the rows, ln(rows) a row. A copy that sees must get below half of that.
    """
    share = _ambiguous_share(subject)
    if share > 0.5:
        raise RedGateError(
            f"{share:.0%} of the first rows have a source that other rows have too, with other "
            "answers, so that it says little"
        )
    few = subject.few
    if len(few.source) < 2:
        return "too few different rows to compare"
    blind = replace(few, source=np.full((len(few.source), 1), subject.eos_id))
    floor = _entropy(few)
    seen = subject.seeing
    unseen = subject.memorise(blind, seen.steps, seen.peak, until=0.0)
    blind_has_learned = unseen.loss < 1.5 * floor + MEMORISED
    if blind_has_learned and not seen.loss < unseen.loss - floor / 2:
        raise RedGateError(
            f"after {seen.steps} updates the loss is {seen.loss:.2f} with the sources and "
            f"{unseen.loss:.2f} without them"
        )
    return f"{seen.loss:.2f} nats with the sources, {unseen.loss:.2f} without"


def overfits_one_batch(subject: Subject) -> str:
    """A handful of rows must be learned by heart."""
    seen, rows = subject.seeing, len(subject.few.source)
    if not seen.loss < MEMORISED:
        raise RedGateError(
            f"after {seen.steps} updates on the same {rows} rows the loss is {seen.loss:.3g} nats, "
            f"not below {MEMORISED}"
        )
    return f"{rows} rows memorised after {seen.steps} updates"


def _entropy(batch: Batch) -> float:
    """Of the answers when nothing is known of the row, in nats a token."""
    answers = [fingerprints(batch, row)[1] for row in range(len(batch.source))]
    shares = np.array([answers.count(answer) for answer in set(answers)]) / len(answers)
    return float(-(shares * np.log(shares)).sum()) * len(answers) / batch.tokens


def _ambiguous_share(subject: Subject) -> float:
    """Share of the first rows whose source does not tell what to predict.

    A source with two labels does not. A source may have several references: those of one prepared
    row are one answer, and those in rows of their own may be as many as `REFERENCES`.
    """
    answers: dict[bytes, set[bytes]] = defaultdict(set)
    rows: dict[bytes, set[int]] = defaultdict(set)
    sources = []
    for index in range(BATCHES_SEARCHED):
        batch = subject.batches.batch(index)
        for place, row in enumerate(batch.rows.tolist()):
            source, answer = fingerprints(batch, place)
            answers[source].add(answer)
            rows[source].add(row)
            sources.append(source)
    if batch.label is not None:
        return sum(len(answers[source]) > 1 for source in sources) / len(sources)
    many = min(REFERENCES, len(set().union(*rows.values())) / 2)  # of few rows: half of them
    ambiguous = {source for source in rows if min(len(answers[source]), len(rows[source])) > many}
    return sum(source in ambiguous for source in sources) / len(sources)
