"""A fine-tuned BERT classifier in our own code: the book's encoder under BERT's head.

It gives the logits of BertForSequenceClassification without importing transformers, whose model
classes take two seconds to import: longer than everything else a short answer needs.
"""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from scratchformer.base.errors import DataError
from scratchformer.pretrained.conversion.bert import configuration, fill
from scratchformer.pretrained.conversion.rules import Rule, copy_in, linear, named
from scratchformer.pretrained.hub.locating import check_folder
from scratchformer.text.inputs import ModelInputs, RustSide
from scratchformer.text.rules import load_rules
from scratchformer.transformer import EncoderClassifier, TransformerConfig
from scratchformer.transformer.masks import as_bias
from scratchformer.transformer.weights import check_size, config_from

HEAD: list[Rule] = [*linear("pooler", "bert.pooler.dense"), *linear("output", "classifier")]


class BertClassifier(nn.Module):
    """logits = W tanh(P h + p) + b, with h the encoder's vector of the first token, [CLS].

    Devlin et al. 2019 (https://arxiv.org/abs/1810.04805), §4.1; the pooler P is in their code.
    """

    def __init__(self, config: TransformerConfig, num_labels: int) -> None:
        super().__init__()
        self.body = EncoderClassifier(config)
        self.pooler = nn.Linear(config.d_model, config.d_model)
        self.output = nn.Linear(config.d_model, num_labels)

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """[batch, labels] from `tokens` [batch, length] and the mask `real`, False on padding.

        BERT masks by the place and not by the id: the token [PAD] can be written in a text.
        """
        embedded = self.body.source_embedding(tokens)
        hidden = self.body.encoder(embedded, as_bias(real[:, None, None, :], embedded.dtype))
        logits: Tensor = self.output(self.pooler(hidden[:, 0]).tanh())
        return logits


def is_ours(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether `load` can read a model: BERT for single texts, written by `save_finetuned`, so that
    config.json names every size and tokenizer.json is the whole tokenizer.

    Args:
        settings: config.json of the folder.
    """
    return (
        settings.get("architectures") == ["BertForSequenceClassification"]
        and (rules := load_rules(folder)) is not None
        and not rules.pairs
        and settings.get("hidden_act") in ("relu", "gelu")
        and all((folder / name).is_file() for name in ("training.json", "tokenizer.json"))
    )


def load(folder: Path, settings: dict[str, Any]) -> tuple[BertClassifier, ModelInputs]:
    """The model, in evaluation mode, and what makes its inputs.

    Raises:
        DataError: damaged weights, or a config.json that does not fit them.
        ParamsError: `check_folder` refuses the folder, or a weight is missing.
    """
    check_folder(folder)
    try:
        theirs = load_file(folder / "model.safetensors")
    except SafetensorError as error:
        raise DataError(f"{folder}: damaged weights ({error}); fetch them again") from error
    try:
        described = asdict(configuration(SimpleNamespace(**settings)))
        config = config_from(described, str(folder))
        check_size(EncoderClassifier, config, theirs, str(folder))
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{folder}: config.json does not describe a BERT: {reason}") from error
    model = BertClassifier(config, len(labels_of(folder, settings)))
    fill(model.body, {name.removeprefix("bert."): tensor for name, tensor in theirs.items()})
    copy_in(HEAD, named(model), theirs)
    return model.eval(), _inputs(folder, model.body.config)


def labels_of(folder: Path, settings: dict[str, Any]) -> list[str]:
    """The names of the labels in the order of their ids. Raises DataError if one has no name."""
    names = settings.get("id2label")
    if not isinstance(names, dict) or names.keys() != {str(place) for place in range(len(names))}:
        raise DataError(f"{folder}: config.json: id2label does not name every label once")
    return [str(names[str(place)]) for place in range(len(names))]


def _inputs(folder: Path, config: TransformerConfig) -> ModelInputs:
    """By inputs.json, without transformers."""
    rules = load_rules(folder)
    assert rules is not None, "is_ours asked for it"
    if rules.max_source_length > config.max_length:
        raise DataError(
            f"{folder}/inputs.json: texts of {rules.max_source_length} tokens, but the model reads "
            f"at most {config.max_length}"
        )
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        side = RustSide(
            tokenizer, rules.max_source_length, truncation_side=rules.truncation_side
        )
    except ValueError as error:  # the length leaves no room for text
        raise DataError(f"{folder}/inputs.json: {error}") from None
    except Exception as error:
        raise DataError(f"{folder}/tokenizer.json: not a tokenizer: {error}") from error
    if tokenizer.get_vocab_size() > config.source_vocab_size:
        raise DataError(
            f"{folder}/tokenizer.json: {tokenizer.get_vocab_size()} tokens, but the model has "
            f"weights for {config.source_vocab_size}"
        )
    return ModelInputs(rules, side)
