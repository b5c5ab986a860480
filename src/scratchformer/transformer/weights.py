"""Models on disk: config.json and model.safetensors, numbers and names, nothing executable."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .classifier import EncoderClassifier
from .config import TransformerConfig
from .decoder_only import DecoderOnly
from .model import Transformer

LARGEST = 1 << 24  # any number of config.json; larger ones overflow when they are multiplied
MOST_POSITIONS = 100_000  # no weight bounds `max_length` where positions are computed

Model = Transformer | EncoderClassifier | DecoderOnly
ARCHITECTURES = {kind.__name__: kind for kind in (Transformer, EncoderClassifier, DecoderOnly)}


def save_model(model: Model, folder: Path) -> None:
    """Write the model into `folder`, which is made if need be. Tied weights are written once."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"architecture": type(model).__name__, **asdict(model.config)}
    text = json.dumps(settings, indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    tensors = {name: weight.detach().contiguous() for name, weight in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def load_model(folder: Path) -> Model:
    """Read what `save_model` wrote; the model is in evaluation mode, on the CPU.

    The folder may come from anybody: every value is checked, and no memory is taken for a model
    that config.json describes and the weights do not fit.

    Raises ValueError, with the folder's name, when the files do not make a model, and OSError
    when they cannot be read.
    """
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{folder}: config.json is nested too deeply") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{folder}: config.json holds no mapping")
    architecture = settings.pop("architecture", None)
    if architecture not in ARCHITECTURES:
        expected = ", ".join(ARCHITECTURES)
        raise ValueError(f"{folder}: architecture {architecture!r} is none of {expected}")
    config = config_from(settings, str(folder))
    try:
        tensors = load_file(folder / "model.safetensors")
    except SafetensorError as error:
        raise ValueError(f"{folder}: model.safetensors is damaged: {error}") from None
    check_size(ARCHITECTURES[architecture], config, tensors, str(folder))
    model: Model = ARCHITECTURES[architecture](config)
    load_weights(model, tensors, str(folder))
    return model.eval()


def config_from(settings: dict[str, Any], origin: str) -> TransformerConfig:
    """Raises ValueError unless every value is of the type that TransformerConfig gives it."""
    types = get_type_hints(TransformerConfig)
    unknown = settings.keys() - types.keys()
    if unknown:
        raise ValueError(f"{origin}: config.json has unknown fields {sorted(unknown)}")
    for name, value in settings.items():
        if get_origin(types[name]) is Literal:
            fits = isinstance(value, str) and value in get_args(types[name])
        elif types[name] is float:
            fits = type(value) in (int, float) and 0 <= value < math.inf
        else:
            fits = type(value) is types[name]
        if fits and types[name] is int:
            least = name in ("d_model", "num_heads", "max_length")
            fits = least <= value <= (MOST_POSITIONS if name == "max_length" else LARGEST)
        if not fits:
            raise ValueError(f"{origin}: config.json: {name} cannot be {str(value)[:60]!r}")
    numbers = {name: float(settings[name]) for name in settings if types[name] is float}
    try:
        return TransformerConfig(**{**settings, **numbers})
    except ValueError as error:
        raise ValueError(f"{origin}: config.json: {error}") from None


def check_size(
    kind: type[Model], config: TransformerConfig, tensors: dict[str, torch.Tensor], origin: str
) -> None:
    """Raise ValueError if a model of this kind and configuration has more weights than `tensors`.

    Counted are W^Q, W^K, W^V, W^O, W1 and W2 of every layer, and the larger embedding. Shapes on
    torch's device `meta` would tell exactly, but that takes 0.8 s of imports.
    """
    encoder, decoder = kind is not DecoderOnly, kind is not EncoderClassifier
    layers = max(config.num_encoder_layers * encoder + config.num_decoder_layers * decoder, 1)
    vocabulary = max(config.source_vocab_size * encoder, config.target_vocab_size * decoder)
    width = config.d_model
    attention = 2 * width + 2 * config.kv_width
    least = width * (layers * (attention + 2 * config.d_ff) + vocabulary + config.num_labels)
    held = sum(tensor.numel() for tensor in tensors.values())
    if least > held:
        raise ValueError(
            f"{origin}: config.json asks for {least:,} weights at least, the file holds {held:,}"
        )


@torch.no_grad()
def load_weights(model: Model, tensors: dict[str, torch.Tensor], origin: str) -> None:
    """Copy `tensors` into the model. Raises ValueError unless names and shapes fit exactly."""
    parameters = dict(model.named_parameters())  # a tied weight has one name here
    if parameters.keys() != tensors.keys():
        missing, extra = parameters.keys() - tensors.keys(), tensors.keys() - parameters.keys()
        raise ValueError(f"{origin}: weights missing {sorted(missing)}, unexpected {sorted(extra)}")
    for name, parameter in parameters.items():
        if parameter.shape != tensors[name].shape:
            raise ValueError(
                f"{origin}: {name} has shape {tuple(tensors[name].shape)}, "
                f"the configuration asks for {tuple(parameter.shape)}"
            )
        parameter.copy_(tensors[name])
