"""Models on disk: config.json and model.safetensors, numbers and names, nothing executable."""

import json
from dataclasses import asdict, fields
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from .classifier import EncoderClassifier
from .config import TransformerConfig
from .decoder_only import DecoderOnly
from .model import Transformer

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

    Raises ValueError, with the folder's name, when the files do not make a model, and OSError
    when they cannot be read.
    """
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = settings.pop("architecture", None)
    if architecture not in ARCHITECTURES:
        expected = ", ".join(ARCHITECTURES)
        raise ValueError(f"{folder}: architecture {architecture!r} is none of {expected}")
    unknown = settings.keys() - {field.name for field in fields(TransformerConfig)}
    if unknown:
        raise ValueError(f"{folder}: config.json has unknown fields {sorted(unknown)}")
    model: Model = ARCHITECTURES[architecture](TransformerConfig(**settings))
    load_weights(model, load_file(folder / "model.safetensors"), str(folder))
    return model.eval()


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
