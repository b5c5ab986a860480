"""Low-rank adapters: train two thin matrices beside every weight matrix instead of the matrix.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685, equation 3) adds to a frozen linear layer W
of [outputs, inputs] the product of B [outputs, rank] and A [rank, inputs]:

    h = W x + (alpha / rank) · B A x

B starts at zero, so the training starts at the pretrained model. In the end W and its product are
added up to one matrix: what is saved is a plain model, and nobody needs `peft` to load it.
"""

from typing import TYPE_CHECKING, Any

from scratchformer.base.errors import ParamsError
from scratchformer.params import Finetune
from scratchformer.runtime.randomness import derive_seed

if TYPE_CHECKING:
    from peft import LoraModel
    from transformers import PreTrainedModel


def add_adapters(model: "PreTrainedModel", settings: Finetune, seed: int) -> "LoraModel":
    """Freeze `model` and put an adapter beside each linear layer of its body, in place.

    What has no pretrained weights worth keeping is trained as a whole: the classification head,
    and the pooler below it, which some encoders are published without.

    Args:
        settings: `lora_rank`, `lora_alpha`, `lora_dropout`.
        seed: decides A, which is drawn at random.

    Returns:
        The handle for `merge_adapters`; `model` itself goes on working as before.

    Raises:
        ParamsError: peft is not installed.
    """
    import torch

    try:
        from peft import LoraConfig, LoraModel
    except ImportError as error:
        raise ParamsError(
            "finetune.method: lora needs the library peft; "
            "run: pip install 'scratchformer[lora]', or set method: full"
        ) from error

    fresh = _fresh_parameters(model)
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=_linear_layers(model, fresh),
    )
    torch.manual_seed(derive_seed(seed, "adapters"))
    adapted = LoraModel(model, config, "default")  # freezes everything but its own matrices
    for parameter in fresh.values():
        parameter.requires_grad_(True)
    return adapted


def merge_adapters(adapted: "LoraModel") -> None:
    """Add every product B A to its W and take the adapters out: the model is a plain one again."""
    adapted.merge_and_unload()


def _fresh_parameters(model: "PreTrainedModel") -> dict[str, Any]:
    """Name → parameter of the head on top of the body and of the pooler. The projection onto the
    vocabulary is no head: it is pretrained."""
    old = {id(parameter) for parameter in model.base_model.parameters()}
    if (output := model.get_output_embeddings()) is not None:
        old |= {id(parameter) for parameter in output.parameters()}
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if id(parameter) not in old or ".pooler." in f".{name}"
    }


def _linear_layers(model: "PreTrainedModel", fresh: dict[str, Any]) -> list[str]:
    """Names of the layers that get an adapter: all linear ones (GPT-2's are written Conv1D) but
    those in `fresh` and the projection onto the vocabulary, often the embedding itself."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    output = model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, (Linear, Conv1D))
        and module is not output
        and f"{name}.weight" not in fresh
    ]
