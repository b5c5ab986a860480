"""Our own model, trained from scratch, exported, and fine-tuned as a pretrained one."""

from pathlib import Path
from typing import Any

import pytest
from tests.committed import DEFAULT_PARAMS

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.files import read_json
from scratchformer.params import Params, load_params
from scratchformer.pretrained.conversion.export import export_transformers
from scratchformer.stages.evaluate import evaluate
from scratchformer.stages.finetune import finetune
from scratchformer.stages.prepare import prepare
from scratchformer.stages.tokenize import tokenize
from scratchformer.stages.train_scratch import train_scratch

ROOT = Path(__file__).parents[3]
TRACK = {
    "task": "seq2seq",
    "source": {"kind": "generated", "name": "reverse", "rows": 500},
    "split": {"valid": 0.1, "test": 0.1},
}
CHANGES: dict[str, Any] = {
    "run": {"threads": 1},
    "prepare": {"scratch": TRACK, "finetune": TRACK},
    "tokenize": {"scratch": {"shared_vocabulary": True, "source": {"algorithm": "word"}}},
    "train_scratch": {
        "model": {
            "d_model": 32, "num_heads": 2, "d_ff": 64, "activation": "relu",
            "num_encoder_layers": 1, "num_decoder_layers": 1, "tie_embeddings": "all",
        },
        "optimizer": {"learning_rate": 0.01}, "warmup_steps": 5, "max_steps": 30,
        "validate_every": 15, "decode_samples": 8, "batch_tokens": 1024,
    },
    "finetune": {"epochs": 4, "learning_rate": 0.01, "freeze": "none", "frozen_layers": 0},
    "evaluate": {"bootstrap_resamples": 100},
}  # fmt: skip


class Silent:
    """Stands for the tracker, and hears nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


def merged(old: Any, new: Any) -> Any:
    if not isinstance(new, dict) or "kind" in new:
        return new
    return {**old, **{key: merged(old[key], value) for key, value in new.items()}}


@pytest.mark.slow
def test_a_model_from_scratch_goes_on_learning_through_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    values = merged(load_params(DEFAULT_PARAMS).model_dump(), CHANGES)
    params, silent = Params.model_validate(values), Silent()
    for stage in (prepare, tokenize, train_scratch):
        stage(params, silent)  # type: ignore[arg-type]

    exported = Path("models/pretrained/ours")
    export_transformers(Path("models/scratch"), exported)
    assert {path.suffix for path in exported.iterdir()} == {".json", ".safetensors"}
    with pytest.raises(DataError, match="exists already"):
        export_transformers(Path("models/scratch"), exported)

    values["pretrained"] = {"kind": "folder", "name": str(exported), "revision": None}
    params = Params.model_validate(values)
    for folder in ("data/tokenized", "models/tokenizers"):
        Path(folder).rename(f"{folder}-before")
    for stage in (tokenize, finetune, evaluate):
        stage(params, silent)  # type: ignore[arg-type]
    metrics = read_json(Path("reports/metrics.json"))
    ours, theirs = metrics["scratch"], metrics["finetune"]
    # The same weights and the same rows: what they call "before" is what we trained.
    assert theirs["before"]["exact_match"] == ours["exact_match"]
    assert theirs["before"]["loss"] == pytest.approx(ours["loss"], abs=2e-5)
    assert theirs["after"]["loss"] < theirs["before"]["loss"] - 0.05


def test_what_cannot_be_exported_is_told(tmp_path: Path) -> None:
    import torch

    from scratchformer.params import Tokenizer
    from scratchformer.text.tokenizers import train_tokenizer
    from scratchformer.transformer import EncoderClassifier, Transformer, TransformerConfig
    from scratchformer.transformer import save_model as save

    letters = Tokenizer(algorithm="character", vocab_size=64, lowercase=False)
    one, other = train_tokenizer(["abc"], letters), train_tokenizer(["xyz"], letters)
    size = one.get_vocab_size()
    torch.manual_seed(0)
    config = TransformerConfig(
        source_vocab_size=size, target_vocab_size=size, d_model=16, num_heads=2, d_ff=32,
        num_encoder_layers=1, num_decoder_layers=1,
    )  # fmt: skip
    save(Transformer(config), tmp_path / "two")
    one.save(str(tmp_path / "two" / "source.json"))
    other.save(str(tmp_path / "two" / "target.json"))
    with pytest.raises(ParamsError, match="shared_vocabulary: true"):
        export_transformers(tmp_path / "two", tmp_path / "out")
    save(EncoderClassifier(TransformerConfig(source_vocab_size=size, num_labels=2, d_model=16,
         num_heads=2, d_ff=32, num_encoder_layers=1)), tmp_path / "classes")  # fmt: skip
    one.save(str(tmp_path / "classes" / "source.json"))
    with pytest.raises(DataError, match="expected an encoder-decoder, found EncoderClassifier"):
        export_transformers(tmp_path / "classes", tmp_path / "out")
    with pytest.raises(DataError, match="not a model from scratch"):
        export_transformers(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()
