"""Models of other families: their attention where they have any, else a reason; no traceback."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scratchformer.base.tasks import TaskName
from scratchformer.params import Params
from scratchformer.pretrained.hub.inputs import load_inputs
from scratchformer.pretrained.hub.reading import load_tokenizer_folder
from scratchformer.text.rules import InputRules
from scratchformer.visualization.analysis.inspection.attention import pretrained_attention
from scratchformer.visualization.analysis.inspection.attribution import integrated_gradients
from scratchformer.visualization.analysis.inspection.model_input import ModelInput, model_input
from scratchformer.visualization.analysis.predictions import UnavailableError
from scratchformer.visualization.report.page.items import Missing, Picture, Section
from scratchformer.visualization.report.tasks import TASK_SECTIONS

from .conftest import TEXTS, effect_table, write_info, write_predictions

Make = Callable[[TaskName], Params]
SMALL: dict[str, Any] = {"vocab_size": 40, "pad_token_id": 0, "num_labels": 3}


def classifier(name: str) -> Any:
    """A random classifier of a family, as transformers makes it, with eager attention."""
    import transformers

    bart = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
            "eos_token_id": 3, "bos_token_id": 2, "decoder_start_token_id": 2,
            "forced_eos_token_id": None}  # fmt: skip
    t5 = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 2, "num_heads": 2,
          "eos_token_id": 3, "decoder_start_token_id": 0}  # fmt: skip
    plain = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 16}
    gpt2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64,
            "bos_token_id": 2, "eos_token_id": 3}  # fmt: skip
    kind, settings = {
        "bart": ("Bart", bart), "t5": ("T5", t5), "fnet": ("FNet", plain), "gpt2": ("GPT2", gpt2),
    }[name]  # fmt: skip
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**SMALL, **settings)
    if name != "fnet":
        config._attn_implementation = "eager"
    return getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()


def read(model: Any, tiny_bert: Path) -> ModelInput:
    return model_input(model, load_inputs(tiny_bert), "fever of the liver")


@pytest.mark.parametrize("family", ["bart", "t5", "gpt2"])
def test_the_maps_of_the_encoder_are_found(family: str, tiny_bert: Path) -> None:
    model = classifier(family)
    row = read(model, tiny_bert)
    row = ModelInput({k: v for k, v in row.batch.items() if k != "token_type_ids"}, row.tokens)
    found = pretrained_attention(model, row.batch, row.tokens)
    assert found.keys() == {"encoder"}
    assert found["encoder"].maps.shape == (2, 2, 6, 6)
    np.testing.assert_allclose(found["encoder"].maps.sum(axis=-1), 1, rtol=1e-5)


def test_a_model_without_attention_says_so(tiny_bert: Path) -> None:
    model = classifier("fnet")
    row = read(model, tiny_bert)
    ids = {"input_ids": row.batch["input_ids"]}
    with pytest.raises(UnavailableError, match=r"FNetModel (gives|returned) no attention maps"):
        pretrained_attention(model, ids, row.tokens)


def test_a_decoder_only_classifier_is_attributed(tiny_bert: Path) -> None:
    model = classifier("gpt2")
    row = read(model, tiny_bert)
    row = ModelInput({k: v for k, v in row.batch.items() if k != "token_type_ids"}, row.tokens)
    found = integrated_gradients(model, load_tokenizer_folder(tiny_bert), row)
    assert len(found.values) == len(found.tokens) == 6
    assert abs(found.error) <= 0.05 * abs(found.values).sum()


@pytest.mark.parametrize("family", ["bart", "t5"])
def test_what_cannot_be_attributed_has_a_reason(family: str, tiny_bert: Path) -> None:
    model = classifier(family)
    with pytest.raises(UnavailableError, match="reads the text twice"):
        integrated_gradients(model, load_tokenizer_folder(tiny_bert), read(model, tiny_bert))


@pytest.fixture
def writing_params(tiny_bert: Path, make_workspace: Make, tmp_path: Path) -> Params:
    """A workspace whose finetune track writes texts, with a T5."""
    import transformers

    params = make_workspace("seq2seq")
    shutil.rmtree("models/finetuned")
    folders = [tmp_path / "t5", Path("models/finetuned")]
    for seed, folder in enumerate(folders):
        torch.manual_seed(seed)
        config = transformers.T5Config(
            vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2,
            pad_token_id=0, eos_token_id=3, decoder_start_token_id=0,
        )  # fmt: skip
        transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
        for path in itertools.chain(tiny_bert.glob("token*"), tiny_bert.glob("special*")):
            shutil.copy(path, folder)
        InputRules(max_source_length=32, max_target_length=32).save(folder)
    write_info("finetune", "seq2seq", {})
    rows = [
        {"id": str(n), "source": text, "references": [text[::-1], text], "prediction": said,
         "score": -1.0, "exact": said == text, "distance": int(said != text),
         "reference_length": len(text.split())}
        for n, (text, said) in enumerate(zip(TEXTS, TEXTS[::-1], strict=True))
    ]  # fmt: skip
    import pandas as pd

    write_predictions("finetune-after", pd.DataFrame(rows))
    before = [{**row, "exact": not row["exact"]} for row in rows]
    write_predictions("finetune-before", pd.DataFrame(before))
    effect_table(["1 words", "2–4 words"]).to_csv(
        "reports/predictions/finetune-effect-by-length.csv", index=False
    )
    return params.model_copy(
        update={"pretrained": params.pretrained.model_copy(update={"name": str(folders[0])})}
    )


def names(section: Section) -> list[str]:
    """Pictures, laid out but not saved; whatever is missing is written out."""
    found = []
    for item in section.items:
        assert not isinstance(item, Missing), item.reason
        if isinstance(item, Picture):
            item.figure.draw_without_rendering()
            found.append(item.name)
    return found


def test_a_finetuned_writer_has_its_sections(writing_params: Params) -> None:
    from scratchformer.data.preparation.prepared import load_info

    info = load_info("finetune")
    task = TASK_SECTIONS[info.task]
    assert names(task.pretrained(writing_params, info)) == [
        f"finetune-{kind}-attention-1-{side}"
        for kind in ("encoder", "decoder", "cross")
        for side in ("before", "after")
    ]
    systems = {"before": "before fine-tuning", "after": "after fine-tuning"}
    assert names(task.errors("finetune", systems, info, 2)) == [
        "finetune-effect-by-length", "finetune-error-by-length", "finetune-edits",
        "finetune-prediction-flips",
    ]  # fmt: skip
