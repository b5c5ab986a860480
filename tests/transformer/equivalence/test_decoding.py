"""Two ways to the same result: fused and explicit attention, with and without cache, alone and
in a batch, beam of one and greedy, search score and forced score, beam and every possibility."""

import itertools

import pytest
import torch
from torch import Tensor

from scratchformer.transformer import (
    DecoderOnly,
    Transformer,
    TransformerConfig,
    beam_search,
    forced_score,
    greedy,
    sample,
)
from scratchformer.transformer.sampling import reshape

VOCAB, EOS = 19, 2
VARIANTS = [
    {"positions": "sinusoidal", "norm_position": "post"},
    {"positions": "learned", "norm_position": "pre", "norm": "rms", "activation": "gelu"},
    {"positions": "rotary", "norm_position": "pre", "activation": "swiglu"},
    {"positions": "alibi", "norm_position": "pre", "num_kv_heads": 1},
]
WRITERS = VARIANTS[1:]  # a random post-norm model writes one token over and over


def make(kind: type = Transformer, seed: int = 1, **changes: object):
    """A small random model whose outputs vary in length and from row to row."""
    torch.manual_seed(seed)
    settings: dict[str, object] = {
        "source_vocab_size": VOCAB, "target_vocab_size": VOCAB, "d_model": 24, "num_heads": 3,
        "d_ff": 40, "num_encoder_layers": 2, "num_decoder_layers": 2, "max_length": 32,
        "tie_embeddings": "none", "output_bias": True, "scale_embeddings": False,
    }  # fmt: skip
    model = kind(TransformerConfig(**(settings | changes))).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.4 if parameter.dim() > 1 else 0.1))
        model.output.bias[EOS] += 1.0
    return model


def sources(batch: int, length: int = 9, seed: int = 1) -> Tensor:
    """Rows of 1 to `length` tokens; the second is the longest, the third the shortest."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCAB, (batch, length), generator=generator)
    lengths = torch.randint(1, length + 1, (batch,), generator=generator)
    lengths[1], lengths[2] = length, 1
    return ids.masked_fill(torch.arange(length) >= lengths[:, None], 0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", [Transformer, DecoderOnly])
def test_fused_and_explicit_attention(agree, kind, variant):
    """Logits and the gradient of every weight."""
    fused = make(kind, **variant, attention="fused")
    explicit = make(kind, **variant, attention="explicit")
    ids = sources(6)
    inputs = (ids, ids) if kind is Transformer else (ids,)
    outputs = [model(*inputs) for model in (fused, explicit)]
    agree("fused and explicit: logits", outputs[0], outputs[1], 1e-10)
    direction = torch.randn_like(outputs[0])
    for output in outputs:
        (output * direction).sum().backward()
    for mine, other in zip(fused.parameters(), explicit.parameters(), strict=True):
        agree("fused and explicit: gradients", mine.grad, other.grad, 1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", [Transformer, DecoderOnly])
def test_with_and_without_cache(agree, kind, variant):
    """Reading a target in pieces of 1, 3, 1, 1 and 2 tokens gives what reading it at once gives."""
    model = make(kind, **variant)
    source = sources(5)
    target = torch.randint(3, VOCAB, (5, 8))
    arguments = (model.encode(source),) if kind is Transformer else ()
    whole = model.decode_hidden(target, *arguments)
    caches, pieces = model.new_caches(), []
    for piece in target.split([1, 3, 1, 1, 2], dim=1):
        pieces.append(model.decode_hidden(piece, *arguments, caches))
    agree("with and without cache", torch.cat(pieces, dim=1), whole, 1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
def test_batched_and_single(agree, variant):
    """A row's output does not depend on its neighbours nor on the padding they bring."""
    model = make(**variant)
    source, target = sources(6), sources(6, 7, seed=2)
    together = model(source, target)
    for row in range(6):
        alone = model(source[row][source[row] != 0][None], target[row][target[row] != 0][None])
        agree("batched and single: logits", together[row, : alone.shape[1]], alone[0], 1e-10)


def decoders() -> dict[str, object]:
    return {
        "greedy": lambda model, source: greedy(model, source, 15),
        "beam 4": lambda model, source: beam_search(model, source, 4, 15),
        "beam 3, penalty 0.6": lambda model, source: beam_search(model, source, 3, 15, 0.6),
        "beam 5, penalty 0": lambda model, source: beam_search(model, source, 5, 15, 0.0),
    }


@pytest.mark.parametrize(
    ("name", "variant"), list(zip(decoders(), WRITERS * 2, strict=False))
)
def test_generation_batched_and_single(agree, name, variant):
    """Rows leave the batch at different times; none of them notices."""
    model, decode = make(**variant), decoders()[name]
    source = sources(16)
    together = decode(model, source)
    assert len(set(together.lengths.tolist())) > 2, "the rows should stop at different places"
    for row in range(8):
        alone = decode(model, source[row][source[row] != 0][None])
        length = int(alone.lengths[0])
        assert together.lengths[row] == length
        assert torch.equal(together.ids[row, :length], alone.ids[0])
        assert not together.ids[row, length:].any()
        agree("batched and single: scores", together.scores[row], alone.scores[0], 1e-5)


@pytest.mark.parametrize("variant", WRITERS)
def test_beam_of_one_is_greedy(agree, variant):
    model, source = make(**variant), sources(40)
    one, best = beam_search(model, source, 1, 15), greedy(model, source, 15)
    assert torch.equal(one.ids, best.ids)
    assert torch.equal(one.lengths, best.lengths)
    agree("beam of one and greedy: scores", one.scores, best.scores, 1e-5)


@pytest.mark.parametrize("variant", WRITERS)
@pytest.mark.parametrize("name", [*decoders(), "sample"])
def test_search_score_is_forced_score(agree, name, variant):
    """What a search says of its output is what the model says when made to write it."""
    model, source = make(**variant), sources(40)
    if name == "sample":
        written = sample(model, source, 15, 0.8, 10, 0.9, torch.Generator().manual_seed(0))
    else:
        written = decoders()[name](model, source)
    assert torch.equal(written.lengths, (written.ids != 0).sum(dim=1))
    ended = written.lengths < written.ids.shape[1]
    assert ended.any()
    last = written.ids.gather(1, written.lengths[:, None] - 1)[ended]
    assert (last == EOS).all()
    forced = forced_score(model, source, written.ids)
    agree("search score and forced score", written.scores.double(), forced, 2e-5)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_wide_beam_finds_the_best_of_all_possibilities(agree, penalty):
    """With room for every hypothesis, beam search is exhaustive search."""
    model = make(target_vocab_size=6, seed=3)
    with torch.no_grad():
        model.output.bias[:EOS] -= 20.0  # pad and bos are never written
        model.output.bias[EOS] -= 2.0
    source, longest = sources(12), 3
    hypotheses = [list(words) for words in itertools.product([3, 4, 5], repeat=longest)]
    for n in range(longest):
        for words in itertools.product([3, 4, 5], repeat=n):
            hypotheses.append([*words, EOS] + [0] * (longest - n - 1))
    everything = torch.tensor(hypotheses)
    lengths = (everything != 0).sum(dim=1)
    found = beam_search(model, source, 60, longest, penalty)
    assert len(set(found.lengths.tolist())) > 1
    for row in range(len(source)):
        scores = forced_score(model, source[row].expand(len(everything), -1), everything)
        ranks = scores / lengths**penalty
        best = everything[ranks.argmax(), : lengths[ranks.argmax()]]
        assert found.ids[row, : found.lengths[row]].tolist() == best.tolist()
        rank = found.scores[row] / found.lengths[row] ** penalty
        agree("wide beam and every possibility", rank.double(), ranks.max(), 1e-5)


def test_beam_search_finds_what_greedy_misses():
    """Not worse than greedy in sum over many sources, and better somewhere."""
    model, source = make(), sources(60)
    wide, best = beam_search(model, source, 8, 15, 0.0), greedy(model, source, 15)
    assert (wide.scores > best.scores + 1e-3).any()
    assert wide.scores.sum() > best.scores.sum()


@pytest.mark.parametrize("variant", WRITERS)
def test_decoder_only_continues_prompts_of_any_length(variant):
    """Batched with longer prompts or alone; and each next token is the likeliest one."""
    model = make(DecoderOnly, **variant)
    prompts = sources(12)
    prompts[:, 0] = 1
    together = greedy(model, prompts, 16)
    for row in range(12):
        prompt = prompts[row][prompts[row] != 0]
        alone = greedy(model, prompt[None], 16)
        length = int(alone.lengths[0])
        assert together.ids[row, :length].tolist() == alone.ids[0].tolist()
        assert together.lengths[row] == length
        assert alone.ids[0, : len(prompt) - 1].tolist() == prompt[1:].tolist()
        written = torch.cat([prompt[:1], alone.ids[0]])
        log_probs = model(written[None])[0].log_softmax(dim=-1)
        log_probs[:, [0, 1]] = -torch.inf
        start = len(prompt) - 1
        assert torch.equal(log_probs[start:-1].argmax(dim=-1), written[start + 1 :])
        gained = log_probs[start:-1].max(dim=-1).values.sum()
        assert alone.scores[0].item() == pytest.approx(gained.item(), abs=1e-4)


def test_sampling_follows_the_distribution():
    """Shares of 5,000 first tokens against p^(1/T), within five standard deviations."""
    model = make()
    source = sources(4)[3:].expand(5_000, -1)
    bos = torch.ones(1, 1, dtype=torch.long)
    logits = model(source[:1], bos)[0, 0].detach()
    logits[[0, 1]] = -torch.inf
    for temperature in (0.5, 1.0, 2.0):
        expected = (logits / temperature).softmax(dim=-1)
        generator = torch.Generator().manual_seed(0)
        written = sample(model, source, 1, temperature, generator=generator)
        shares = torch.bincount(written.ids[:, 0], minlength=VOCAB) / len(source)
        deviation = (expected * (1 - expected) / len(source)).sqrt()
        assert ((shares - expected).abs() <= 5 * deviation + 1e-9).all()


def test_sampling_is_repeatable_and_rejects_nonsense():
    model, source = make(), sources(8)
    draws = [
        sample(model, source, 12, generator=torch.Generator().manual_seed(seed)).ids
        for seed in (3, 3, 4)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    for arguments in ({"temperature": 0.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}):
        with pytest.raises(ValueError, match="temperature"):
            sample(model, source, 12, **arguments)
    with pytest.raises(ValueError, match="beam_size"):
        beam_search(model, source, 0, 12)


def test_top_k_and_top_p():
    log_probs = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]).log()
    top_2 = reshape(log_probs, 1.0, 2, 1.0).exp()
    assert torch.allclose(top_2, torch.tensor([[4 / 7, 3 / 7, 0, 0], [0, 0, 3 / 7, 4 / 7]]))
    for top_p, kept in ((0.01, 1), (0.39, 1), (0.41, 2), (0.69, 2), (0.71, 3), (0.95, 4)):
        probabilities = reshape(log_probs, 1.0, 0, top_p).exp()
        assert (probabilities > 0).sum(dim=1).tolist() == [kept, kept]
        assert torch.allclose(probabilities.sum(dim=1), torch.ones(2))
    assert torch.equal(reshape(log_probs, 1.0, 0, 1.0), log_probs.log_softmax(dim=-1))
    both = reshape(log_probs, 1.0, 3, 0.5).exp()  # of 4/9, 3/9, 2/9 the first two reach a half
    assert (both > 0).sum(dim=1).tolist() == [2, 2]


def test_a_source_of_padding_only_and_an_empty_batch():
    model = make()
    source = torch.cat([sources(3), torch.zeros(1, 9, dtype=torch.long)])
    for written in (greedy(model, source, 10), beam_search(model, source, 3, 10)):
        assert written.scores.isfinite().all()
        assert (written.lengths > 0).all()
    for written in (greedy(model, source[:0], 10), beam_search(model, source[:0], 3, 10)):
        assert written.ids.shape == (0, 0)


def test_nothing_beyond_max_length_of_the_model():
    model = make(max_length=9)
    with torch.no_grad():
        model.output.bias[EOS] = -100.0
    assert greedy(model, sources(3), 9).ids.shape == (3, 9)
    with pytest.raises(ValueError, match="10 tokens is longer than max_length"):
        greedy(model, sources(3), 10)
