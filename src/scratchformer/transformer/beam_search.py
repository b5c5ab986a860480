"""Beam search: keep the best few hypotheses of each source instead of only the best one.

Hypotheses that have ended are compared by sum of log-probabilities / length^penalty, as
`transformers` does; the paper's §6.1 uses ((5 + length) / 6)^0.6 of Wu et al. 2016.
"""

from dataclasses import dataclass, replace

import torch

from .generation import DecodingState, Generated, finish
from .largest import largest_sums
from .model import Transformer
from .shapes import Float, Int, Tensor


@dataclass(frozen=True)
class Hypotheses:
    """Some hypotheses of each source; `best` keeps those that rank highest."""

    ids: Int[Tensor, "source hypothesis length"]
    scores: Float[Tensor, "source hypothesis"]  # sums of log-probabilities
    ranks: Float[Tensor, "source hypothesis"]

    def best(self, count: int) -> tuple["Hypotheses", Tensor]:
        """The `count` best of each source, best first, and which ones they are."""
        index = self.ranks.topk(count).indices
        return self.pick(index), index

    def pick(self, index: Int[Tensor, "source kept"]) -> "Hypotheses":
        """Hypotheses index[s, 0], index[s, 1], … of each source s."""
        rows = torch.arange(len(index), device=index.device)[:, None]
        return Hypotheses(self.ids[rows, index], self.scores[rows, index], self.ranks[rows, index])

    def join(self, other: "Hypotheses") -> "Hypotheses":
        """These and the other ones of each source."""
        return Hypotheses(
            torch.cat([self.ids, other.ids], dim=1),
            torch.cat([self.scores, other.scores], dim=1),
            torch.cat([self.ranks, other.ranks], dim=1),
        )

    def of(self, sources: Int[Tensor, " kept"]) -> "Hypotheses":
        """Only those of these sources."""
        return Hypotheses(self.ids[sources], self.scores[sources], self.ranks[sources])


def extend(
    hypotheses: Hypotheses, log_probs: Float[Tensor, "source beam vocab"], place: int
) -> tuple[Hypotheses, Tensor]:
    """The likeliest continuations by one token, and which hypothesis each continues.

    Twice as many as there were: each can end in one way only, so at most half of them end here.
    """
    beam_size, vocab = log_probs.shape[1:]
    scores, choice = largest_sums(hypotheses.scores, log_probs, 2 * beam_size)
    parent = choice // vocab
    ids = hypotheses.pick(parent).ids
    ids[:, :, place] = choice % vocab
    return Hypotheses(ids, scores, scores), parent


@torch.inference_mode()
def beam_search(
    model: Transformer,
    source: Int[Tensor, "batch source"],
    beam_size: int,
    max_length: int,
    length_penalty: float = 1.0,
    n_best: int = 1,
) -> Generated:
    """The best hypotheses of each source; their scores are their sums of log-probabilities.

    Of `n_best` hypotheses a source, those of the first source come first, the best of them at the
    top. Where fewer can be had (a short answer from a small vocabulary), the rest score -∞.

    A source is done when `beam_size` hypotheses have ended and the best open one, at its
    present length, is no better than the worst of them. Hypotheses still open after
    `max_length` tokens count as ended.
    """
    if beam_size < 1:
        raise ValueError(f"beam_size ({beam_size}) must be at least 1")
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"n_best ({n_best}) must be 1 to beam_size ({beam_size})")
    model.eval()
    config, device = model.config, source.device
    result_ids = source.new_full((len(source), n_best, max_length), config.pad_id)
    result_scores = torch.zeros(len(source), n_best, device=device)

    rows = torch.arange(len(source), device=device)  # the sources still decoded
    ids = result_ids[:, :1].repeat(1, beam_size, 1)
    none = torch.full((len(source), beam_size), -torch.inf, device=device)
    ended = Hypotheses(ids, none, none)
    scores = none.clone()
    scores[:, 0] = 0.0  # all beams are equal at step 0, so score only the first
    open_ = Hypotheses(ids, scores, scores)
    state = DecodingState(model, source)
    new = state.prompt.repeat_interleave(beam_size, dim=0)

    for place in range(max_length):
        if not len(rows):
            break
        log_probs = state.next_log_probs(new).view(len(rows), beam_size, -1)
        candidates, parent = extend(open_, log_probs, place)
        ends = (candidates.ids[:, :, place] == config.eos_id) | (place == max_length - 1)

        # What ends here competes with what ended before; only the `beam_size` best may.
        norm = (place + 1) ** length_penalty
        ranks = (candidates.scores / norm).masked_fill(~ends, -torch.inf)
        ranks[:, beam_size:] = -torch.inf
        ended, _ = ended.join(replace(candidates, ranks=ranks)).best(beam_size)

        # The best of the others go on.
        scores = candidates.scores.masked_fill(ends, -torch.inf)
        open_, kept = replace(candidates, scores=scores, ranks=scores).best(beam_size)
        parent = parent.gather(1, kept)

        done = (open_.scores[:, 0] / norm <= ended.ranks[:, -1]) | (place == max_length - 1)
        result_ids[rows[done]] = ended.ids[done, :n_best]
        result_scores[rows[done]] = ended.scores[done, :n_best]

        going = (~done).nonzero().squeeze(1)
        first = torch.arange(len(rows), device=device)[:, None] * beam_size
        state.keep_targets((first + parent)[going].flatten())
        if done.any():
            state.keep_sources(going)
            rows, open_, ended = rows[going], open_.of(going), ended.of(going)
        new = open_.ids[:, :, place].reshape(-1, 1)
    return finish(result_ids.flatten(0, 1), result_scores.flatten(), config.pad_id)
