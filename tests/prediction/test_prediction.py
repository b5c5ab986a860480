"""`scratchformer predict`: the answers that the models give, from and into every kind of file."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.params import Tokenizer
from scratchformer.prediction import batches, load_predictor, predict_file
from scratchformer.prediction.windows import windows
from scratchformer.record.calibration import Calibration, identity
from scratchformer.runtime.workers import set_workers
from scratchformer.text.rules import InputRules
from scratchformer.text.tokenizers import load_tokenizers, train_tokenizer
from scratchformer.transformer import (
    EncoderClassifier,
    Transformer,
    TransformerConfig,
    beam_search,
    greedy,
    save_model,
)

WORDS = ["abba", "babel", "cab", "dada", "a", "deadbeef" * 4]
LETTERS = Tokenizer(algorithm="character", vocab_size=64, lowercase=False)


def save_scratch(folder: Path, **options: int) -> Path:
    torch.manual_seed(1)
    source = train_tokenizer(WORDS, LETTERS)
    size = source.get_vocab_size()
    config = TransformerConfig(
        source_vocab_size=size, target_vocab_size=size, d_model=16, num_heads=2, d_ff=32,
        num_encoder_layers=1, num_decoder_layers=1, max_length=12, **options,
    )  # fmt: skip
    model = EncoderClassifier(config) if options else Transformer(config)
    save_model(model, folder)
    source.save(str(folder / "source.json"))
    if not options:
        source.save(str(folder / "target.json"))
    InputRules(max_source_length=12, max_target_length=None if options else 12).save(folder)
    return folder


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_scratch(tmp_path_factory.mktemp("writer"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_scratch(tmp_path_factory.mktemp("classifier"), num_labels=3)
    (folder / "labels.json").write_text('["low", "mid", "high"]')
    return folder


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("finetuned"))


def save_bert(folder: Path) -> Path:
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir(exist_ok=True)
    letters = sorted(set("".join(WORDS)))
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{x}" for x in letters),
    ]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=12)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    BertForSequenceClassification(
        BertConfig(
            vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=12, num_labels=3,
            id2label={0: "low", 1: "mid", 2: "high"}, label2id={"low": 0, "mid": 1, "high": 2},
        )
    ).save_pretrained(folder)  # fmt: skip
    (folder / "training.json").write_text("{}")
    InputRules(max_source_length=12).save(folder)
    return folder


@pytest.mark.parametrize("beam", [1, 3])
def test_text_from_scratch_is_what_the_model_writes(writer: Path, beam: int) -> None:
    from scratchformer.transformer import load_model

    model, tokenizers = load_model(writer), load_tokenizers(writer)
    assert isinstance(model, Transformer) and tokenizers.target is not None
    predictor = load_predictor(writer)
    answers = predictor(WORDS, 1, beam)
    for word, (answer,) in zip(WORDS, answers, strict=True):
        ids = tokenizers.source.encode(word).ids
        ids = ids if len(ids) <= 12 else [*ids[:11], 2]
        source = torch.tensor([ids])
        alone = greedy(model, source, 12) if beam == 1 else beam_search(model, source, beam, 12)
        assert answer.text == tokenizers.target.decode(alone.ids[0].tolist())
        assert answer.probability == pytest.approx(alone.scores.exp().item(), rel=1e-4)


def test_the_best_texts_come_from_one_search_in_order(writer: Path) -> None:
    predictor = load_predictor(writer)
    several = predictor(WORDS, 3, 1)
    for answers, (best,) in zip(several, predictor(WORDS, 1, 3), strict=True):
        assert answers[0].text == best.text
        assert answers[0].probability == pytest.approx(best.probability)
        shares = [answer.probability for answer in answers]
        assert 1 < len(shares) <= 3 and min(shares) > 0
        assert shares == sorted(shares, reverse=True) and len(set(shares)) > 1


@pytest.mark.parametrize("kind", ["classifier", "finetuned"])
def test_probabilities_are_calibrated_and_labels_described(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `evaluate` leaves it beside the models; that of an earlier training is not used."""
    folder = tmp_path / "models" / kind
    shutil.copytree(request.getfixturevalue(kind), folder)
    (plain,) = load_predictor(folder)(["abba"], 3, 1)
    words = ("few", "some", "many")
    known = Calibration(identity(folder), 2.0, ("low", "mid", "high"), words)
    known.save(tmp_path / "models" / "calibration" / f"{kind}.json")
    (answers,) = load_predictor(folder)(["abba"], 3, 1)
    softer = torch.tensor([answer.probability for answer in plain]).sqrt()
    assert [a.probability for a in answers] == pytest.approx((softer / softer.sum()).tolist())
    assert [a.text for a in answers] == [a.text for a in plain]
    described = dict(zip(known.labels, words, strict=True))
    assert [a.description for a in answers] == [described[a.text] for a in answers]

    predict_file(folder, ["abba", "cab"], None, "text", None, 1, 1, 8)
    text, label, description, probability = capsys.readouterr().out.splitlines()[0].split("\t")
    assert (text, description) == ("abba", described[label])
    assert float(probability) == pytest.approx(answers[0].probability, abs=1e-4)
    predict_file(folder, ["abba", "cab"], None, "text", None, 1, 1, 8, threshold=1.0)
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == f"abba\t\t\t{probability}"
    assert told.err == "2 of 2 texts have no answer of probability 1 or more\n"

    (folder / "training.json").write_text('{"best_step": 2}')
    assert load_predictor(folder)(["abba"], 3, 1) == [plain]
    assert "is of an earlier training" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [{"temperature": 0}, {"temperature": "1"}, {"labels": ["a"]}, {"labels": None}]
)
def test_a_damaged_calibration_is_told(
    classifier: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    folder = tmp_path / "classifier"
    shutil.copytree(classifier, folder)
    names = ["low", "mid", "high"]
    whole = {"model": identity(folder), "temperature": 1.5, "labels": names, "descriptions": names}
    (folder / "calibration.json").write_text(json.dumps(whole))
    assert load_predictor(folder)(["abba"], 1, 1)[0][0].description is None
    (folder / "calibration.json").write_text(json.dumps(whole | change))
    with pytest.raises(DataError, match=r"calibration\.json: not a calibration"):
        load_predictor(folder)


def test_a_long_text_is_read_in_windows_that_overlap(finetuned: Path) -> None:
    """The model reads 10 letters beside its special tokens."""
    predictor = load_predictor(finetuned)
    words = list("abcdeabcdeabcde")
    inputs = getattr(predictor, "inputs")  # noqa: B009
    pieces = windows(inputs, " ".join(words))
    assert pieces == [" ".join(words[start : start + 10]) for start in (0, 5)]
    assert windows(inputs, "abba") == ["abba"] and windows(inputs, "deadbeef" * 4) == [
        "deadbeef" * 4
    ]
    (whole,) = predictor([" ".join(words)], 3, 1, "windows")
    parts = [{a.text: a.probability for a in part} for part in predictor(pieces, 3, 1)]
    means = {name: (parts[0][name] * parts[1][name]) ** 0.5 for name in parts[0]}
    total = sum(means.values())
    assert {a.text: a.probability for a in whole} == pytest.approx(
        {name: mean / total for name, mean in means.items()}
    )
    (short,), (same,) = predictor(["abba"], 1, 1, "windows"), predictor(["abba"], 1, 1)
    assert short[0].probability == pytest.approx(same[0].probability)
    assert predictor([" ".join(words)], 1, 1)[0][0].probability == pytest.approx(
        max(parts[0].values())  # the cut that training used
    )


@pytest.mark.parametrize("kind", ["classifier", "finetuned"])
def test_labels_are_ranked_with_their_probabilities(
    kind: str, request: pytest.FixtureRequest
) -> None:
    predictor = load_predictor(request.getfixturevalue(kind))
    for answers in predictor(WORDS, 5, 1):
        assert {answer.text for answer in answers} == {"low", "mid", "high"}
        shares = [answer.probability for answer in answers]
        assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1)
    together = predictor(WORDS, 1, 1)
    alone = [predictor([word], 1, 1)[0] for word in WORDS]
    assert [a[0].text for a in together] == [a[0].text for a in alone]
    assert [a[0].probability for a in together] == pytest.approx([a[0].probability for a in alone])


def test_labels_agree_with_the_pipeline_of_transformers(finetuned: Path) -> None:
    from transformers import pipeline

    theirs = pipeline("text-classification", model=str(finetuned), device="cpu")
    ours = load_predictor(finetuned)(WORDS[:5], 1, 1)
    for word, (answer,) in zip(WORDS[:5], ours, strict=True):
        (expected,) = theirs(word)
        assert (answer.text, answer.probability) == (
            expected["label"], pytest.approx(expected["score"], rel=1e-4),
        )  # fmt: skip


def test_bad_arguments(tmp_path: Path, writer: Path) -> None:
    with pytest.raises(ParamsError, match="not both"):
        predict_file(writer, ["a"], tmp_path / "x.csv", "text", None, 1, 1, 8)
    with pytest.raises(ParamsError, match=r"ends in \.csv"):
        predict_file(writer, ["a"], None, "text", tmp_path / "x.xlsx", 1, 1, 8)
    with pytest.raises(ParamsError, match="windows is for classifiers"):
        predict_file(writer, ["a"], None, "text", None, 1, 1, 8, long="windows")
    with pytest.raises(DataError, match=r"no model here"):
        predict_file(tmp_path, ["a"], None, "text", None, 1, 1, 8)
    with pytest.raises(DataError, match="not found"):
        predict_file(writer, [], tmp_path / "absent.csv", "text", None, 1, 1, 8)


def test_a_damaged_model_is_told_in_one_line(tmp_path: Path, writer: Path) -> None:
    for file in writer.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "d_model": 32}))
    with pytest.raises(DataError, match="not a model that can be loaded"):
        load_predictor(tmp_path)


@pytest.mark.parametrize("kind", ["writer", "classifier", "finetuned"])
def test_the_command_reads_a_pipe_and_imports_little(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """Of a cold answer's time almost all is imports: those that are slow stay out."""
    folder = request.getfixturevalue(kind)
    slow = {"transformers", "torch._dynamo", "mlflow", "pandas", "pyarrow", "sklearn", "scipy"}
    program = (
        "import sys; from scratchformer.cli import app\n"
        f"sys.argv = ['scratchformer', 'predict', '--model', {str(folder)!r}]\n"
        "try: app()\n"
        f"finally: print({slow} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input="abba\n\ncab\n", text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "set()\n")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["abba", "", "cab"]
    assert all(0 <= float(line[2]) <= 1 for line in lines)


@pytest.mark.parametrize(("asked", "threads"), [({}, 1), ({"OMP_NUM_THREADS": "2"}, 2)])
def test_texts_on_the_command_line_are_answered_by_one_thread(
    writer: Path, asked: dict[str, str], threads: int
) -> None:
    program = (
        "import sys; from scratchformer.cli import app\n"
        f"sys.argv = ['scratchformer', 'predict', '--model', {str(writer)!r}, 'abba']\n"
        "try: app()\n"
        "finally: print(sys.modules['torch'].get_num_threads(), file=sys.stderr)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment | asked, text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, f"{threads}\n")


def test_processes_share_the_batches_and_change_no_byte(
    writer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, targets = tmp_path / "words.txt", [tmp_path / "one.csv", tmp_path / "two.csv"]
    source.write_text("\n".join(WORDS * 4))
    predict_file(writer, [], source, "text", targets[0], top_k=2, beam=2, batch_size=5)
    monkeypatch.setattr(batches, "load_predictor", None)  # here; the workers have their own
    set_workers(2)
    try:
        predict_file(writer, [], source, "text", targets[1], top_k=2, beam=2, batch_size=5)
        with pytest.raises(DataError, match="no model here"):
            predict_file(tmp_path, [], source, "text", tmp_path / "three.csv", 1, 1, batch_size=5)
    finally:
        set_workers(1)
    assert targets[0].read_bytes() == targets[1].read_bytes()
    assert not (tmp_path / "three.csv").exists()
