"""`export --as ctranslate2`: the folder writes what the model writes, token for token."""

import random
from pathlib import Path

import pytest
import torch

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.cli.export import EXPORTS, Layout
from scratchformer.params import Tokenizer
from scratchformer.prediction import load_predictor
from scratchformer.pretrained.conversion import ctranslate2 as conversion
from scratchformer.text.rules import InputRules
from scratchformer.text.tokenizers import SPECIAL_TOKENS, TokenizerPair, train_tokenizer
from scratchformer.transformer import Transformer, TransformerConfig, save_model
from scratchformer.transformer.positions import SCHEMES

pytest.importorskip("ctranslate2", reason="pip install -e '.[ctranslate2]'")
LETTERS = "abcdefghij"
LONGEST = 8
KINDS = {
    "post-norm, one vocabulary": {
        "norm_position": "post", "activation": "relu", "tie_embeddings": "all",
        "output_bias": True,
    },
    "pre-norm, two vocabularies, what no family of transformers has": {
        "norm_position": "pre", "activation": "swiglu", "norm": "rms", "positions": "learned",
        "tie_embeddings": "decoder", "embedding_norm": True, "scale_embeddings": False,
    },
}  # fmt: skip


def texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices(LETTERS, k=draw.randint(1, LONGEST - 2))) for _ in range(count)]


def tokenizers_of(one: bool) -> TokenizerPair:
    letters = Tokenizer(algorithm="character", vocab_size=64, lowercase=False)
    lower = train_tokenizer([LETTERS], letters)
    return TokenizerPair(lower, lower if one else train_tokenizer([LETTERS.upper() + "?"], letters))


def trained(config: TransformerConfig, pair: TokenizerPair) -> Transformer:
    """A model that has half learned to write a word backwards: sure of some letters only."""
    torch.manual_seed(3)
    model = Transformer(config).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    one = pair.source is pair.target
    for step in range(200):
        words = texts(32, seed=step)
        answers = [word[::-1] if one else word[::-1].upper() for word in words]
        assert pair.target is not None
        source, target = (
            torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(each.encode(text).ids) for text in some], batch_first=True
            )
            for each, some in ((pair.source, words), (pair.target, answers))
        )
        begin = torch.cat([torch.ones_like(target[:, :1]), target[:, :-1]], dim=1)
        logits = model(source, begin).flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, target.flatten(), ignore_index=0).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def saved(folder: Path, kind: str) -> Path:
    pair = tokenizers_of(one=KINDS[kind]["tie_embeddings"] == "all")
    assert pair.target is not None
    config = TransformerConfig(
        source_vocab_size=pair.source.get_vocab_size(),
        target_vocab_size=pair.target.get_vocab_size(),
        d_model=32, num_heads=2, d_ff=48, num_encoder_layers=2, num_decoder_layers=1,
        dropout=0.0, max_length=LONGEST, **KINDS[kind],  # type: ignore[arg-type]
    )  # fmt: skip
    save_model(trained(config, pair), folder)
    pair.source.save(str(folder / "source.json"))
    pair.target.save(str(folder / "target.json"))
    InputRules(max_source_length=LONGEST, max_target_length=LONGEST).save(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_200_texts_get_the_same_tokens_and_probabilities(kind: str, tmp_path: Path) -> None:
    model, folder = saved(tmp_path / "ours", kind), tmp_path / "theirs"
    conversion.export_ctranslate2(model, folder)
    ours, theirs = load_predictor(model), load_predictor(folder)
    asked = [*texts(198, seed=1000), "", "a?b"]  # an empty text, and an unknown letter
    for beam in (1, 5):
        expected, found = ours(asked, 1, beam), theirs(asked, 1, beam)
        assert [row[0].text for row in found] == [row[0].text for row in expected]
        # Padding and BOS have no share in its probabilities; in ours they have a small one.
        ratios = sorted(
            other[0].probability / mine[0].probability
            for mine, other in zip(expected, found, strict=True)
        )
        assert ratios[0] > 0.99 and 0.99 < ratios[100] < 1.05
        assert len({row[0].text for row in expected}) > 100  # it does not always say the same
    with pytest.raises(ParamsError, match="--long windows"):
        theirs(asked, long="windows")
    with pytest.raises(DataError, match="exists already"):
        conversion.export_ctranslate2(model, folder)


def test_weights_of_8_bits_change_the_answers_a_little(tmp_path: Path) -> None:
    kind = "post-norm, one vocabulary"
    model, whole, small = saved(tmp_path / "ours", kind), tmp_path / "whole", tmp_path / "small"
    assert "8 bits" in EXPORTS[Layout.ctranslate2](model, whole, "") + (
        EXPORTS[Layout.ctranslate2_int8](model, small, "")
    )
    sizes = [(folder / "model.bin").stat().st_size for folder in (whole, small)]
    assert sizes[1] < 0.5 * sizes[0]
    asked = texts(200, seed=1000)
    exact, rounded = (load_predictor(folder)(asked) for folder in (whole, small))
    pairs = [(a[0], b[0]) for a, b in zip(exact, rounded, strict=True)]
    assert sum(a.text == b.text for a, b in pairs) > 100  # unsure as the model is
    moved = [b.probability / a.probability - 1 for a, b in pairs if a.text == b.text]
    assert 1e-3 < abs(sorted(moved)[len(moved) // 2]) < 0.3


def test_a_model_is_not_changed_by_being_converted() -> None:
    pair = tokenizers_of(one=False)
    assert pair.target is not None
    model = Transformer(TransformerConfig(
        source_vocab_size=pair.source.get_vocab_size(),
        target_vocab_size=pair.target.get_vocab_size(),
        d_model=16, num_heads=2, d_ff=16, num_encoder_layers=1, num_decoder_layers=1,
        tie_embeddings="decoder",
    ))  # fmt: skip
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    conversion.to_ctranslate2(model, pair, "int8")
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_what_cannot_be_exported_is_told(tmp_path: Path) -> None:
    pair = tokenizers_of(one=True)
    size = pair.source.get_vocab_size()
    inside = [scheme for scheme, (_, in_attention) in SCHEMES.items() if in_attention]
    refused = [("num_kv_heads", 1), *(("positions", scheme) for scheme in inside)]
    assert len(refused) > 2
    for field, value in refused:
        config = TransformerConfig(
            source_vocab_size=size, target_vocab_size=size, d_model=16, num_heads=2, d_ff=16,
            num_encoder_layers=1, num_decoder_layers=1, **{field: value},  # type: ignore[arg-type]
        )  # fmt: skip
        with pytest.raises(ParamsError, match=field):
            conversion.to_ctranslate2(Transformer(config), pair)
    with pytest.raises(DataError, match="not a model from scratch"):
        conversion.export_ctranslate2(tmp_path, tmp_path / "out")
    assert SPECIAL_TOKENS[0] == "<pad>" and not (tmp_path / "out").exists()
