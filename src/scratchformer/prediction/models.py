"""The trained models of both tracks behind one call: texts in, ranked answers out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.files import read_json, read_mapping
from scratchformer.data.tokenized.texts import encode_texts
from scratchformer.prediction.answers import Answer, Classes
from scratchformer.prediction.windows import Long, demand_cut, windows
from scratchformer.runtime.device import device_of, on_device, open_machine

if TYPE_CHECKING:
    from torch import Tensor, nn

    from scratchformer.runtime.device import DeviceName
    from scratchformer.text.inputs import Encoded, ModelInputs
    from scratchformer.text.tokenizers import TokenizerPair


class Predictor(Protocol):
    """A loaded model."""

    inputs: "ModelInputs"

    def __call__(
        self, texts: Sequence[str], top_k: int = 1, beam: int = 1, long: Long = "cut",
        second_texts: Sequence[str] | None = None,
    ) -> list[list[Answer]]:  # fmt: skip
        """The `top_k` best answers to each text or pair of texts, the best first.

        Args:
            beam: width of the search of a model that writes text; at least `top_k` is taken.
            long: what a classifier does with a text that is longer than it reads: `cut` it as in
                training, or read it in `windows` and take the mean of their log-probabilities.
            second_texts: of pairs; without them a tab in each text parts the two.

        Raises:
            DataError: the model reads pairs and got single texts, or the other way round.
        """


def load_predictor(folder: Path, device: "DeviceName" = "auto") -> Predictor:
    """Load models/scratch, models/finetuned or another folder of either layout.

    Args:
        device: as `run.device` of params.yaml.

    Raises:
        ParamsError: this computer lacks the device.
        DataError: the folder holds no model, or one whose files do not fit together.
    """
    config = folder / "config.json"
    if not config.is_file():
        raise DataError(f"{folder}: no model here (config.json is missing); `dvc repro` makes it")
    settings = read_mapping(config)
    architecture = settings.get("architecture")
    open_machine(device, threads=None)
    if architecture == "Transformer":
        return _Seq2SeqPredictor(folder)
    if architecture == "EncoderClassifier":
        return _ScratchClassifier(folder)
    if architecture == "CTranslate2":
        from scratchformer.prediction.ctranslate2 import CTranslate2Predictor

        return CTranslate2Predictor(folder)
    from scratchformer.pretrained.conversion.bert_classifier import is_ours

    if is_ours(folder, settings):
        return _BertClassifier(folder, settings)
    if "SequenceClassification" in str(settings.get("architectures")):
        return _PretrainedClassifier(folder)
    if settings.get("is_encoder_decoder"):
        return _PretrainedSeq2Seq(folder)
    found = architecture or settings.get("architectures")
    raise DataError(f"{folder}: cannot predict with the architecture {found}")


class _Seq2SeqPredictor:
    """Our own encoder-decoder."""

    def __init__(self, folder: Path) -> None:
        self.model, self.tokenizers, self.inputs = _load_scratch(folder)

    def __call__(
        self, texts: Sequence[str], top_k: int = 1, beam: int = 1, long: Long = "cut",
        second_texts: Sequence[str] | None = None,
    ) -> list[list[Answer]]:  # fmt: skip
        from scratchformer.transformer import beam_search, greedy

        demand_cut(long)
        target, longest = self.tokenizers.target, self.inputs.rules.max_target_length
        assert target is not None and longest is not None
        source = _padded(self.model, encode_texts(self.inputs, texts, second_texts))
        width = max(beam, top_k)
        decoded = (
            greedy(self.model, source, longest)
            if width == 1
            else beam_search(self.model, source, width, longest, n_best=top_k)
        )
        found = zip(decoded.ids.tolist(), decoded.scores.exp().tolist(), strict=True)
        answers = [Answer(target.decode(ids), probability) for ids, probability in found]
        some = [answers[at : at + top_k] for at in range(0, len(answers), top_k)]
        return [[each for each in mine if each.probability > 0] or mine[:1] for mine in some]


class _Classifier(ABC):
    """What all classifiers share: they differ in how texts become logits."""

    inputs: "ModelInputs"
    classes: Classes

    @abstractmethod
    def logits(self, read: "Encoded") -> "Tensor":
        """`[text, label]` of texts as the model reads them."""

    def __call__(
        self, texts: Sequence[str], top_k: int = 1, beam: int = 1, long: Long = "cut",
        second_texts: Sequence[str] | None = None,
    ) -> list[list[Answer]]:  # fmt: skip
        import torch

        with torch.inference_mode():
            if long == "cut":
                read = encode_texts(self.inputs, texts, second_texts)
                return self.classes.ranked(self.logits(read), top_k)
            if second_texts is not None:
                raise ParamsError("--long windows: these are pairs of texts; use --long cut")
            answers = []
            for text in texts:
                pieces = encode_texts(self.inputs, windows(self.inputs, text))
                whole = self.classes.over_windows(self.logits(pieces))
                answers += self.classes.ranked(whole[None], top_k)
            return answers


class _ScratchClassifier(_Classifier):
    """Our own encoder with a classification head."""

    def __init__(self, folder: Path) -> None:
        self.model, _, self.inputs = _load_scratch(folder)
        names = _labels(folder / "labels.json", self.model.config.num_labels)
        self.classes = Classes.of(folder, names)

    def logits(self, read: "Encoded") -> "Tensor":
        logits: Tensor = self.model(_padded(self.model, read))
        return logits


class _BertClassifier(_Classifier):
    """A fine-tuned BERT, run by our own encoder."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        from scratchformer.pretrained.conversion.bert_classifier import labels_of, load

        model, self.inputs = load(folder, settings)
        self.model = on_device(model)
        self.classes = Classes.of(folder, labels_of(folder, settings))

    def logits(self, read: "Encoded") -> "Tensor":
        import torch

        tokens = _padded(self.model, read, self.model.body.config.pad_id)
        lengths = torch.tensor([len(ids) for ids in read.ids], device=tokens.device)
        real = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        logits: Tensor = self.model(tokens, real)
        return logits


class _PretrainedClassifier(_Classifier):
    """A fine-tuned classifier of another architecture in the Hugging Face layout."""

    def __init__(self, folder: Path) -> None:
        from scratchformer.pretrained.hub.inputs import load_inputs
        from scratchformer.pretrained.models.loading import load_finetuned

        self.model, self.inputs = load_finetuned(folder), load_inputs(folder)
        names = self.model.config.id2label
        if names.keys() != {*range(self.model.config.num_labels)}:
            raise DataError(f"{folder}: config.json: id2label does not name every label once")
        self.classes = Classes.of(folder, [str(names[index]) for index in range(len(names))])

    def logits(self, read: "Encoded") -> "Tensor":
        logits: Tensor = self.model(**_model_inputs(self.model, read)).logits
        return logits


class _PretrainedSeq2Seq:
    """A fine-tuned encoder-decoder in the Hugging Face layout."""

    def __init__(self, folder: Path) -> None:
        from scratchformer.pretrained.hub.inputs import load_inputs
        from scratchformer.pretrained.hub.reading import load_tokenizer_folder
        from scratchformer.pretrained.models.loading import load_finetuned

        self.model, self.inputs = load_finetuned(folder, task="seq2seq"), load_inputs(folder)
        self.tokenizer = load_tokenizer_folder(folder)

    def __call__(
        self, texts: Sequence[str], top_k: int = 1, beam: int = 1, long: Long = "cut",
        second_texts: Sequence[str] | None = None,
    ) -> list[list[Answer]]:  # fmt: skip
        import torch

        demand_cut(long)
        width = max(beam, top_k)
        inputs = _model_inputs(self.model, encode_texts(self.inputs, texts, second_texts))
        with torch.inference_mode():
            made = self.model.generate(
                **inputs, num_beams=width, num_return_sequences=top_k, do_sample=False,
                max_new_tokens=self.inputs.rules.max_target_length,
                return_dict_in_generate=True, output_scores=True,
            )  # fmt: skip
            beams = getattr(made, "beam_indices", None)
            gains = self.model.compute_transition_scores(
                made.sequences, made.scores, beams, normalize_logits=width == 1
            )
        gains = gains.masked_fill(torch.isinf(gains), 0.0)
        words = self.tokenizer.batch_decode(made.sequences, skip_special_tokens=True)
        answers = [
            Answer(text, probability)
            for text, probability in zip(words, gains.sum(dim=1).exp().tolist(), strict=True)
        ]
        return [answers[at : at + top_k] for at in range(0, len(answers), top_k)]


def _model_inputs(model: Any, read: "Encoded") -> "dict[str, Tensor]":
    """What a model of transformers is called with."""
    import numpy as np

    from scratchformer.data.tokenized.columns import InputColumns, input_table
    from scratchformer.pretrained.inference import model_inputs

    return model_inputs(model, InputColumns.of(input_table(read)), np.arange(len(read.ids)))


def _load_scratch(folder: Path) -> "tuple[Any, TokenizerPair, ModelInputs]":
    from scratchformer.text.inputs import load_scratch_inputs
    from scratchformer.text.tokenizers import load_tokenizers
    from scratchformer.transformer import Transformer, load_model

    try:
        model, tokenizers = on_device(load_model(folder)), load_tokenizers(folder)
    except (ValueError, OSError) as error:
        raise DataError(f"{folder}: not a model that can be loaded: {error}") from None
    sizes = (model.config.source_vocab_size, model.config.target_vocab_size)
    for side, tokenizer, size in zip(tokenizers._fields, tokenizers, sizes, strict=True):
        if tokenizer is not None and tokenizer.get_vocab_size() > size:
            raise DataError(
                f"{folder}/{side}.json: {tokenizer.get_vocab_size()} tokens, but the model has "
                f"weights for {size}"
            )
    if isinstance(model, Transformer) and tokenizers.target is None:
        raise DataError(f"{folder}/target.json not found; the model cannot write without it")
    inputs = load_scratch_inputs(folder)
    longest = max(inputs.rules.max_source_length, inputs.rules.max_target_length or 0)
    if longest > model.config.max_length or (
        isinstance(model, Transformer) and inputs.rules.max_target_length is None
    ):
        raise DataError(
            f"{folder}/inputs.json: its lengths do not fit the model, which has "
            f"{model.config.max_length} positions"
        )
    return model, tokenizers, inputs


def _labels(path: Path, count: int) -> list[str]:
    """The names of the labels in the order of their ids; numbers where the file is missing."""
    try:
        names = read_json(path) if path.is_file() else [str(index) for index in range(count)]
    except ValueError as error:
        raise DataError(f"{path}: not readable as JSON: {error}") from None
    if not (isinstance(names, list) and len(names) == count):
        raise DataError(f"{path}: expected a list of {count} names")
    return [str(name) for name in names]


def _padded(model: "nn.Module", read: "Encoded", pad_id: int = 0) -> "Tensor":
    """int64 [text, length], beside the weights of the model."""
    import torch

    rows = [torch.tensor(ids) for ids in read.ids]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_id)
    return padded.to(device_of(model))
