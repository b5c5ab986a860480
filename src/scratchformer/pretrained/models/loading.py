"""From a folder to a model in memory, without running anybody's code.

Every function checks its folder first, see `locating.py`. Models come in float32, in evaluation
mode, and on the device of this process.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.registry import Registry
from scratchformer.base.tasks import TaskName
from scratchformer.params import Pretrained
from scratchformer.pretrained.hub.locating import check_folder, locate
from scratchformer.pretrained.hub.reading import explained
from scratchformer.runtime.device import on_device
from scratchformer.runtime.randomness import derive_seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# eager returns attention maps; sdpa is faster, and falls back to eager where a class has none
Attention = Literal["sdpa", "eager"]


# The class of transformers that reads a finished model of a task.
AUTO_CLASSES: Registry[str] = Registry(
    "task",
    {"classification": "AutoModelForSequenceClassification", "seq2seq": "AutoModelForSeq2SeqLM"},
)


def load_encoder(pretrained: Pretrained, attention: Attention = "sdpa") -> "PreTrainedModel":
    """The bare pretrained model: token ids in, hidden states out. Of an encoder-decoder (T5, BART)
    it is the encoder."""
    from transformers import AutoModel

    return _prefixed(encoder_of(_load(AutoModel, locate(pretrained), attention)), pretrained)


def encoder_of(model: "PreTrainedModel") -> "PreTrainedModel":
    """The part of a model that turns token ids into hidden states and `attentions`: without a
    head, and without the decoder of an encoder-decoder, which asks for inputs of its own."""
    body = model.base_model
    return body.get_encoder() if hasattr(body, "decoder") else body


def load_classifier(
    pretrained: Pretrained, labels: Sequence[str], seed: int, attention: Attention = "sdpa"
) -> "PreTrainedModel":
    """A pretrained model with a fresh classification head, for fine-tuning.

    The head has one output per name in `labels`, in this order, and is drawn from `seed`. A head
    that the pretrained model brings along is used only if it has the same shape.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    names = dict(enumerate(labels))
    torch.manual_seed(derive_seed(seed, "weights"))
    model = _load(
        AutoModelForSequenceClassification,
        locate(pretrained),
        attention,
        num_labels=len(labels),
        id2label=names,
        label2id={name: index for index, name in names.items()},
    )
    _check_reads_padded_batches(model)
    return _prefixed(model, pretrained)


def _check_reads_padded_batches(model: "PreTrainedModel") -> None:
    """A classifier must tell a text from the padding on its right.

    A decoder (GPT-2) reads the answer at the last token that is not `pad_token_id`; without such
    an id of its own it gets that of EOS, in config.json too, so that everyone pads alike.

    Raises:
        ParamsError: there is no EOS either, or the answer is read at the last position, padding or
            not (XLNet).
    """
    config, name = model.config, type(model).__name__
    if getattr(config, "summary_type", None) == "last" and not hasattr(model, "score"):
        raise ParamsError(
            f"pretrained.name: {name} reads the class at the last position of a batch, which holds "
            "padding; choose an encoder of another family (BERT, RoBERTa, DeBERTa, …)"
        )
    if config.pad_token_id is None:
        end = config.eos_token_id
        config.pad_token_id = end[0] if isinstance(end, list) else end
    if config.pad_token_id is None:
        raise ParamsError(
            f"pretrained.name: {name} has neither pad_token_id nor eos_token_id in config.json, so "
            "rows of different lengths cannot be told from padding; add one of the two"
        )


def load_seq2seq(pretrained: Pretrained, attention: Attention = "sdpa") -> "PreTrainedModel":
    """A complete encoder-decoder (T5, Marian, BART, …), for generation or fine-tuning."""
    from transformers import AutoModelForSeq2SeqLM

    model = _load(AutoModelForSeq2SeqLM, locate(pretrained), attention, complete=True)
    return _prefixed(model, pretrained)


def _prefixed(model: "PreTrainedModel", pretrained: Pretrained) -> "PreTrainedModel":
    """With the prefix in config.json too, the field that transformers has for it."""
    if pretrained.prefix:
        model.config.prefix = pretrained.prefix
    return model


def load_finetuned(
    folder: Path, attention: Attention = "sdpa", task: TaskName = "classification"
) -> "PreTrainedModel":
    """A complete fine-tuned model: every weight must be in the folder."""
    import transformers

    check_folder(folder)
    auto_class = getattr(transformers, AUTO_CLASSES[task])
    return _load(auto_class, folder, attention, complete=True)


def _load(
    auto_class: Any, folder: Path, attention: Attention, complete: bool = False, **config: Any
) -> "PreTrainedModel":
    """Load safetensors in float32 and insist that the pretrained weights were really there.

    transformers fills missing tensors with random numbers and only warns. A head may be new
    (unless `complete`), and so may a pooler, which some encoders are published without; anything
    else that is missing means the folder holds another architecture than its config says.
    """
    import torch

    model, report = explained(
        folder, lambda: auto_class.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            # None: sdpa where the class has it, else eager (DeBERTa, MPNet).
            attn_implementation=None if attention == "sdpa" else attention,
            dtype=torch.float32,
            ignore_mismatched_sizes=not complete,
            output_loading_info=True,
            **config,
        )
    )
    lacking = set(report["missing_keys"]) | {key for key, *_ in report["mismatched_keys"]}
    if not complete:
        body = f"{model.base_model_prefix}."
        headless = model.base_model is model
        lacking = {
            key for key in lacking if (headless or key.startswith(body)) and "pooler." not in key
        }
    if lacking:
        raise DataError(
            f"{folder}: the weights lack {len(lacking)} tensors that config.json promises, "
            f"{min(lacking)} among them; the folder is incomplete or of another architecture"
        )
    return on_device(model.eval())
