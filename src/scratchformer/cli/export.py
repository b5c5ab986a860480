"""`scratchformer export`: a layout of folder, and what writes it."""

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scratchformer.pretrained.conversion.ctranslate2 import Quantization

Export = Callable[[Path, Path, str], str]
"""Writes the model of the first folder into the second, with an input example; says what can be
done with it."""


class Layout(StrEnum):
    """What kind of folder `export` writes."""

    pyfunc = "pyfunc"
    transformers = "transformers"
    ctranslate2 = "ctranslate2"
    ctranslate2_int8 = "ctranslate2-int8"


def _pyfunc(model: Path, folder: Path, example: str) -> str:
    from scratchformer.base.layout import FINETUNED_MODEL
    from scratchformer.evaluation.tables.results_table import card_with_results
    from scratchformer.prediction.served import export_pyfunc
    from scratchformer.tracking.mirror.store import quiet_environment

    os.environ.update(quiet_environment())  # before MLflow is imported
    text = card_with_results() if model == FINETUNED_MODEL else None
    export_pyfunc(model, folder, example, text)
    return (
        "serve it on this machine only with\n"
        f"mlflow models serve --env-manager local --host 127.0.0.1 --model-uri {folder}"
    )


def _transformers(model: Path, folder: Path, example: str) -> str:
    from scratchformer.pretrained.conversion.export import export_transformers

    export_transformers(model, folder)
    return f"to fine-tune it, set pretrained.kind: folder and pretrained.name: {folder}"


def _ctranslate2(
    model: Path, folder: Path, example: str, quantization: "Quantization | None" = None
) -> str:
    from scratchformer.pretrained.conversion.ctranslate2 import export_ctranslate2

    export_ctranslate2(model, folder, quantization)
    return f"use it with: scratchformer predict --model {folder}"


def _ctranslate2_int8(model: Path, folder: Path, example: str) -> str:
    use = _ctranslate2(model, folder, example, "int8")
    return (
        f"{use}\n"
        "weights of 8 bits change some answers: benchmarks/quantization_cost.py counts them"
    )


EXPORTS: dict[Layout, Export] = {
    Layout.pyfunc: _pyfunc,
    Layout.transformers: _transformers,
    Layout.ctranslate2: _ctranslate2,
    Layout.ctranslate2_int8: _ctranslate2_int8,
}
