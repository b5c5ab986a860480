"""What a pretrained model really reads of a text: ids, segments, and the tokens' names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scratchformer.data.tokenized.columns import InputColumns, input_table
from scratchformer.data.tokenized.texts import encode_texts
from scratchformer.pretrained.inference import model_inputs
from scratchformer.text.inputs import ModelInputs

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class ModelInput:
    """One row as the model reads it: cut, prefixed and parted as in training."""

    batch: "Mapping[str, Tensor]"  # input_ids, attention_mask, and segments where there are some
    tokens: Sequence[str]


def model_input(
    model: "PreTrainedModel", inputs: ModelInputs, text: str, second: str | None = None
) -> ModelInput:
    """A text, or a pair of texts, by the rules that lie beside the weights."""
    read = encode_texts(inputs, [text], None if second is None else [second])
    batch = model_inputs(model, InputColumns.of(input_table(read)), np.array([0]))
    return ModelInput(batch, inputs.source.tokens(read.ids[0]))
