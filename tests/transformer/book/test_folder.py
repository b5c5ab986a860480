"""The folder as a reader meets it: short files, checked shapes, and nothing else needed."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import scratchformer.transformer
from scratchformer.transformer import EncoderClassifier, Transformer, TransformerConfig, greedy

FOLDER = Path(scratchformer.transformer.__file__).parent
SMALL = {"source_vocab_size": 9, "target_vocab_size": 9, "d_model": 8, "num_heads": 2, "d_ff": 12,
         "num_encoder_layers": 1, "num_decoder_layers": 1, "max_length": 16}  # fmt: skip


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_files_read_in_one_sitting(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    assert text.startswith('"""'), "the first line says what the file is about"
    table_of_contents = (FOLDER / "__init__.py").read_text(encoding="utf-8")
    assert path.stem == "__init__" or path.stem in table_of_contents


def test_the_folder_can_be_taken_away(tmp_path):
    """Alone, without this project and without jaxtyping, it trains and writes."""
    shutil.copytree(FOLDER, tmp_path / "alone", ignore=shutil.ignore_patterns("__pycache__"))
    script = f"""
        import sys
        sys.modules["scratchformer"] = sys.modules["jaxtyping"] = sys.modules["beartype"] = None
        import torch
        from alone import Transformer, TransformerConfig, greedy
        model = Transformer(TransformerConfig(**{SMALL}))
        tokens = torch.tensor([[3, 4, 5]])
        model(tokens, tokens).sum().backward()
        print(greedy(model, tokens, 4).ids.shape[0])
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (finished.returncode, finished.stdout) == (0, "1\n"), finished.stderr


def test_shapes_are_checked_in_tests():
    """The annotations are enforced here: wrong ranks, wrong types, sizes that do not agree."""
    pytest.importorskip("jaxtyping")
    from jaxtyping import TypeCheckError

    model = Transformer(TransformerConfig(**SMALL))
    tokens = torch.full((2, 4), 3)
    with pytest.raises(TypeCheckError):
        model(tokens[0], tokens)
    with pytest.raises(TypeCheckError):
        model(tokens, tokens.float())
    with pytest.raises(TypeCheckError):
        model.project(tokens)
    classifier = EncoderClassifier(TransformerConfig(**SMALL, num_labels=2))
    with pytest.raises(TypeCheckError):  # one row of tokens for two rows of vectors
        classifier.pool(classifier.encode(tokens), tokens[:1])


def test_other_processes_are_not_checked():
    """Without the hook of conftest.py the annotations cost nothing: functions are as written."""
    script = "from scratchformer.transformer import Transformer; print(Transformer.forward)"
    finished = subprocess.run(
        [sys.executable, "-c", script + "; print(hasattr(Transformer.forward, '__wrapped__'))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert finished.stdout.endswith("False\n")
    assert hasattr(Transformer.forward, "__wrapped__")


def test_writing_leaves_no_trace():
    """`greedy` records no graph and leaves gradients alone; the model ends in evaluation mode."""
    model = Transformer(TransformerConfig(**SMALL)).train()
    tokens = torch.full((2, 4), 3)
    written = greedy(model, tokens, 4)
    assert not written.scores.requires_grad
    assert not model.training
    model.train()
    model(tokens, tokens).sum().backward()
