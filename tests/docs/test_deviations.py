"""The table of deviations from the paper names every choice, and tests that exist."""

import dataclasses
import re

from chapters import DOCS, ROOT

from scratchformer.transformer import TransformerConfig

TEXT = (DOCS / "deviations.md").read_text(encoding="utf-8")
# The paper has these too, with other numbers or without a name; the last says how, not what.
IN_THE_PAPER = {
    "source_vocab_size", "target_vocab_size", "d_model", "num_heads", "d_ff", "num_encoder_layers",
    "num_decoder_layers", "dropout", "max_length", "num_labels", "pad_id", "bos_id", "eos_id",
    "norm_epsilon", "attention",
}  # fmt: skip


def test_every_choice_that_the_paper_does_not_have_is_in_the_table() -> None:
    fields = {field.name for field in dataclasses.fields(TransformerConfig)}
    assert fields >= IN_THE_PAPER
    missing = {name for name in fields - IN_THE_PAPER if f"`{name}" not in TEXT}
    assert not missing


def test_named_tests_exist() -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", TEXT)
    assert len(named) > 15
    for file, test in named:
        (path,) = (ROOT / "tests").rglob(file)
        assert f"def {test}(" in path.read_text(encoding="utf-8"), f"{file}::{test}"
