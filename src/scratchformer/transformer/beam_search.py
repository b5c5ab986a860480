"""Beam search: keep the best few hypotheses of each source instead of only the best one.

Scores are compared as sum of log-probabilities / length^penalty, as `transformers` does; the
paper's §6.1 uses ((5 + length) / 6)^0.6 of Wu et al. 2016.
"""

import torch

from .generation import Generated, Writer, finish
from .model import Transformer
from .shapes import Int, Tensor


@torch.inference_mode()
def beam_search(
    model: Transformer,
    source: Int[Tensor, "batch source"],
    beam_size: int,
    max_length: int,
    length_penalty: float = 1.0,
) -> Generated:
    """The best hypothesis of each source; its score is its sum of log-probabilities.

    A source is done when `beam_size` hypotheses have ended and the best open one, at its
    present length, is no better than the worst of them. Hypotheses still open after
    `max_length` tokens count as ended.
    """
    if beam_size < 1:
        raise ValueError(f"beam_size ({beam_size}) must be at least 1")
    model.eval()
    config, device = model.config, source.device
    writer = Writer(model, source)
    result_ids = source.new_full((len(source), max_length), config.pad_id)
    result_scores = torch.zeros(len(source), device=device)

    # Of the sources at work, [source, hypothesis]: open hypotheses, best first; the best ended.
    rows = torch.arange(len(source), device=device)
    ids = result_ids[:, None].repeat(1, beam_size, 1)
    scores = torch.full((len(source), beam_size), -torch.inf, device=device)
    scores[:, 0] = 0.0  # all begin alike: let the first alone speak
    ended_ids, ended_scores, ended_ranks = ids, scores, torch.full_like(scores, -torch.inf)

    writer.keep_targets(rows.repeat_interleave(beam_size))
    new = writer.prompt.repeat_interleave(beam_size, dim=0)
    for place in range(max_length):
        if not len(rows):
            break
        # Twice as many candidates as needed: at most half of them can end here.
        log_probs = writer.next_log_probs(new).view(len(rows), beam_size, -1)
        vocab = log_probs.shape[-1]
        totals = (scores[..., None] + log_probs).flatten(1)
        candidate_scores, choice = totals.topk(2 * beam_size)
        parent, token = choice // vocab, choice % vocab
        candidate_ids = _pick(ids, parent)
        candidate_ids[:, :, place] = token
        ends = (token == config.eos_id) | (place == max_length - 1)

        # Ended candidates compete with those that ended before; only the beam's own may.
        ranks = (candidate_scores / (place + 1) ** length_penalty).masked_fill(~ends, -torch.inf)
        ranks[:, beam_size:] = -torch.inf
        ended_ranks, best = torch.cat([ended_ranks, ranks], dim=1).topk(beam_size)
        ended_ids = _pick(torch.cat([ended_ids, candidate_ids], dim=1), best)
        ended_scores = _pick(torch.cat([ended_scores, candidate_scores], dim=1), best)

        # The best of the others go on.
        scores, best = candidate_scores.masked_fill(ends, -torch.inf).topk(beam_size)
        ids = _pick(candidate_ids, best)
        parent, token = _pick(parent, best), _pick(token, best)

        hope = scores[:, 0] / (place + 1) ** length_penalty
        going = (hope > ended_ranks[:, -1]) & (place < max_length - 1)
        done = ~going
        result_ids[rows[done]] = ended_ids[done, 0]
        result_scores[rows[done]] = ended_scores[done, 0]

        kept = going.nonzero().squeeze(1)
        first = torch.arange(len(rows), device=device)[:, None] * beam_size
        writer.keep_targets((first + parent)[kept].flatten())
        if done.any():
            writer.keep_sources(kept)
            rows, ids, scores = rows[kept], ids[kept], scores[kept]
            ended_ids, ended_scores, ended_ranks = (
                ended_ids[kept],
                ended_scores[kept],
                ended_ranks[kept],
            )
        new = token[kept].view(-1, 1)
    return finish(result_ids, result_scores, config.pad_id)


def _pick(x: Tensor, index: Int[Tensor, "source kept"]) -> Tensor:
    """x[s, index[s, k]] for every source s and kept k."""
    return x[torch.arange(len(x), device=x.device)[:, None], index]
