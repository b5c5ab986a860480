"""Decoding: one token after the other.

Every row of a batch stops at its own `eos_id` and then costs nothing more; keys and values of
earlier tokens are cached. `max_length` counts the tokens after `bos_id`, `eos_id` included.
`pad_id` and `bos_id` are never generated.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .decoder_only import DecoderOnly
from .model import Memory, Transformer
from .shapes import Float, Int, Tensor

Choose = Callable[[Tensor], Tensor]  # log-probabilities [rows, vocab] → one token a row [rows]


@dataclass(frozen=True)
class Generated:
    """The generated tokens: without `bos_id`, up to and with `eos_id`, then `pad_id`."""

    ids: Int[Tensor, "batch length"]
    scores: Float[Tensor, " batch"]  # sum of the log-probabilities of the generated tokens
    lengths: Int[Tensor, " batch"]  # tokens, `eos_id` included


class DecodingState:
    """The rows that are still decoded, with their sources and their caches."""

    def __init__(self, model: Transformer | DecoderOnly, source: Int[Tensor, "batch source"]):
        self.model = model
        self.caches = model.new_caches()
        self.memory: Memory | None = None
        if isinstance(model, Transformer):
            self.memory = model.encode(source)
            self.prompt = source.new_full((len(source), 1), model.config.bos_id)
        else:
            self.prompt = source

    def next_log_probs(self, tokens: Int[Tensor, "rows new"]) -> Float[Tensor, "rows vocab"]:
        """log p(next token) after each row's new tokens; -∞ for `pad_id` and `bos_id`."""
        model = self.model
        if isinstance(model, Transformer):
            assert self.memory is not None
            hidden = model.decode_hidden(tokens, self.memory, self.caches)
        else:
            hidden = model.decode_hidden(tokens, self.caches)
        log_probs = model.project(hidden[:, -1]).float().log_softmax(dim=-1)
        for never in (model.config.pad_id, model.config.bos_id):
            log_probs[:, never] = -torch.inf
        return log_probs

    def keep_sources(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep the sources of these rows, in this order."""
        if self.memory is not None:
            self.memory = self.memory.select(rows)

    def keep_targets(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep the caches of these rows, in this order."""
        for cache in self.caches:
            cache.select(rows)


@torch.inference_mode()
def decode(
    model: Transformer | DecoderOnly,
    source: Int[Tensor, "batch source"],
    max_length: int,
    choose: Choose,
) -> Generated:
    """Let `choose` pick each next token. A DecoderOnly continues `source`, prompts that begin
    with `bos_id` and are padded on the right; their tokens are copied, with score 0."""
    model.eval()
    config = model.config
    state = DecodingState(model, source)
    given = (state.prompt[:, 1:] != config.pad_id).sum(dim=1)  # prompt tokens after `bos_id`
    ids = source.new_full((len(source), max(max_length, state.prompt.shape[1] - 1)), config.pad_id)
    ids[:, : state.prompt.shape[1] - 1] = state.prompt[:, 1:]
    scores = torch.zeros(len(source), device=source.device)
    rows = torch.arange(len(source), device=source.device)  # those still decoded
    start = int(given.min()) if len(source) else 0
    new = state.prompt[:, : start + 1]
    for place in range(start, ids.shape[1]):
        if not len(rows):
            break
        log_probs = state.next_log_probs(new)
        known = place < given[rows]
        token = torch.where(known, ids[rows, place], choose(log_probs))
        gain = log_probs.gather(1, token[:, None]).squeeze(1)
        scores[rows] += torch.where(known, 0.0, gain)
        ids[rows, place] = token
        going = known | (token != config.eos_id)
        if not going.all():
            kept = going.nonzero().squeeze(1)
            state.keep_sources(kept)
            state.keep_targets(kept)
            rows, token = rows[kept], token[kept]
        new = token[:, None]
    return finish(ids, scores, config.pad_id)


def finish(
    ids: Int[Tensor, "batch length"], scores: Float[Tensor, " batch"], pad_id: int
) -> Generated:
    """Cut the columns in which every row has only padding."""
    lengths = (ids != pad_id).sum(dim=1)
    longest = int(lengths.max()) if len(ids) else 0
    return Generated(ids[:, :longest], scores, lengths)


def greedy(
    model: Transformer | DecoderOnly, source: Int[Tensor, "batch source"], max_length: int
) -> Generated:
    """Always the likeliest token."""
    return decode(model, source, max_length, lambda log_probs: log_probs.argmax(dim=-1))


@torch.inference_mode()
def forced_score(
    model: Transformer, source: Int[Tensor, "batch source"], target: Int[Tensor, "batch target"]
) -> Float[Tensor, " batch"]:
    """log p(target | source), summed over the target's tokens (no `bos_id`; padding is free)."""
    model.eval()
    bos = target.new_full((len(target), 1), model.config.bos_id)
    logits = model(source, torch.cat([bos, target[:, :-1]], dim=1))
    gains = logits.float().log_softmax(dim=-1).gather(2, target[..., None]).squeeze(2)
    return gains.masked_fill(target == model.config.pad_id, 0.0).sum(dim=1)
