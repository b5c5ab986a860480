"""A trained model as JSON for the page: configuration, weights in float16, vocabularies."""

import base64
import json
from dataclasses import asdict
from typing import Any

import torch
from tokenizers import Tokenizer

from scratchformer.transformer import Transformer

MAX_WEIGHTS = 1_450_000
"""Two bytes each, and a third more as base64: a page of 4 MB."""

SUPPORTED = {
    "norm": ("layer", "rms"),
    "norm_position": ("pre", "post"),
    "activation": ("relu", "gelu", "silu", "swiglu"),
    "positions": ("sinusoidal", "sinusoidal_halves", "learned", "rotary"),
    "num_kv_heads": (0,),
}


def obstacle(model: object, tokenizers: tuple[Tokenizer, Tokenizer | None]) -> str | None:
    """Why the page cannot run this model, in words; None if it can."""
    if not isinstance(model, Transformer):
        return f"it runs an encoder-decoder, and models/scratch holds a {type(model).__name__}"
    for name, known in SUPPORTED.items():
        if (value := getattr(model.config, name)) not in known:
            return f"it does not know {name}: {value}"
    count = sum(parameter.numel() for parameter in model.parameters())
    if count > MAX_WEIGHTS:
        return f"it holds models up to {MAX_WEIGHTS:,} weights, and this one has {count:,}"
    if any(tokenizer is None or unit_of(tokenizer) is None for tokenizer in tokenizers):
        return "it cuts texts into characters or words, and these tokenizers cut them into pieces"
    return None


def unit_of(tokenizer: Tokenizer) -> str | None:
    """`character` or `word`: what a token is. None for pieces, which the page cannot cut."""
    settings = json.loads(tokenizer.to_str())
    if settings["model"]["type"] != "WordLevel":
        return None
    return "character" if settings["pre_tokenizer"]["type"] == "Split" else "word"


def packed(model: Transformer) -> dict[str, Any]:
    """`config`, the `shapes` of all weights by name, in the order of their bytes, and the bytes.

    A tied weight is stored once; `tied` says which names stand for which.
    """
    names = dict(model.named_parameters())
    home = {id(parameter): name for name, parameter in names.items()}
    tied = {
        name: home[id(parameter)]
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if name not in names
    }
    flat = torch.cat([parameter.detach().flatten() for parameter in names.values()])
    return {
        "config": asdict(model.config),
        "shapes": [[name, list(parameter.shape)] for name, parameter in names.items()],
        "tied": tied,
        "weights": base64.b64encode(flat.half().numpy().tobytes()).decode("ascii"),
    }


def vocabulary(tokenizer: Tokenizer) -> dict[str, Any]:
    """What the page needs to cut a text and to show tokens."""
    tokens = [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]
    normalizer = tokenizer.normalizer
    lowercase = normalizer is not None and normalizer.normalize_str("A") == "a"
    return {"tokens": tokens, "lowercase": lowercase, "unit": unit_of(tokenizer)}
