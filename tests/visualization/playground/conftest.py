"""Small models, and a browser without a window to run them in."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.committed import DEFAULT_PARAMS
from tokenizers import Tokenizer

from scratchformer.params import load_params
from scratchformer.text.tokenizers import train_tokenizer
from scratchformer.transformer import Transformer, TransformerConfig

LETTERS = ["abcde", "fgh", "é ü", "ijk lmn", "opq"]
PHONES = ["AA B", "CH D EH", "F G </s>", "<b> & K"]


@pytest.fixture(scope="session")
def tokenizers() -> tuple[Tokenizer, Tokenizer]:
    """Letters on one side, words on the other."""
    settings = load_params(DEFAULT_PARAMS).tokenize.scratch
    source = settings.source.model_copy(update={"lowercase": True})
    return train_tokenizer(LETTERS, source), train_tokenizer(PHONES, settings.target)


@pytest.fixture
def make_model(tokenizers: tuple[Tokenizer, Tokenizer]) -> Callable[..., Transformer]:
    """A model whose weights are random and exact in float16."""

    def make(**changes: Any) -> Transformer:
        torch.manual_seed(0)
        settings = {
            "source_vocab_size": tokenizers[0].get_vocab_size(),
            "target_vocab_size": tokenizers[1].get_vocab_size(),
            "d_model": 24, "num_heads": 3, "d_ff": 40, "num_encoder_layers": 2,
            "num_decoder_layers": 2, "max_length": 16, "tie_embeddings": "decoder",
        }  # fmt: skip
        model = Transformer(TransformerConfig(**(settings | changes)))
        with torch.no_grad():
            for parameter in model.parameters():
                # Sharper than at the start of a training: attention far from even.
                parameter.add_(torch.randn_like(parameter) * 0.3).copy_(parameter.half().float())
        return model.eval()

    return make
