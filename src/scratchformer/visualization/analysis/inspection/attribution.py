"""Which tokens move a classifier's answer: integrated gradients, by the library captum (an extra).

Attention says where a layer looks, not what that does to the answer. Integrated gradients
(Sundararajan, Taly and Yan 2017, equation 1) add up the gradient of one logit along the straight
line from an empty text to the text; what the tokens get sums to the change of the logit on the way
("completeness"). The empty text is an assumption of its own: another one gives other figures.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchformer.visualization.analysis.inspection.model_input import ModelInput
from scratchformer.visualization.analysis.predictions import UnavailableError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

STEPS = 50  # points on the line; the error of the sum is measured, see `Attribution.error`


@dataclass(frozen=True)
class Attribution:
    """What each token adds to the logit of `label`."""

    label: int
    tokens: list[str]
    values: NDArray[np.float64]  # [tokens], logits; negative ones speak against the label
    change: float  # logit of the text minus logit of the empty text
    error: float  # sum of `values` minus `change`


def integrated_gradients(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", row: ModelInput
) -> Attribution:
    """Attribute the likeliest label's logit to the tokens of what the model reads of `row`.

    The empty text has the same special tokens and padding in place of all others.

    Raises:
        UnavailableError: captum is not installed, or it cannot take this model apart.
    """
    import torch

    if model.config.is_encoder_decoder:
        raise UnavailableError(
            f"{type(model).__name__} reads the text twice, in the encoder and in the decoder; the "
            "line from an empty text goes through one of them."
        )
    try:
        from captum.attr import LayerIntegratedGradients
    except ImportError as error:
        raise UnavailableError(
            "Needs the library captum: pip install 'scratchformer[attribution]'."
        ) from error

    ids = row.batch["input_ids"]
    rest = {name: tensor for name, tensor in row.batch.items() if name != "input_ids"}
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids, device=ids.device))
    empty = torch.where(special, ids, torch.full_like(ids, tokenizer.pad_token_id or 0))

    def logits(inputs: Any) -> Any:
        shared = {name: tensor.expand_as(inputs) for name, tensor in rest.items()}
        return model(input_ids=inputs, **shared).logits

    with torch.inference_mode():
        full, none = logits(ids)[0], logits(empty)[0]
    label = int(full.argmax())
    try:
        found = LayerIntegratedGradients(logits, model.get_input_embeddings()).attribute(
            ids, baselines=empty, target=label, n_steps=STEPS, internal_batch_size=STEPS
        )
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UnavailableError(
            f"captum cannot attribute {type(model).__name__}: {str(error).splitlines()[0]}"
        ) from error
    values: NDArray[np.float64] = found[0].cpu().double().sum(dim=-1).numpy()
    change = float(full[label] - none[label])
    return Attribution(label, list(row.tokens), values, change, float(values.sum()) - change)
