"""What is read out of models is what the models compute."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from scratchformer.base.tasks import TaskName
from scratchformer.params import Params
from scratchformer.pretrained.hub.inputs import load_inputs
from scratchformer.pretrained.hub.reading import load_tokenizer_folder
from scratchformer.pretrained.models.loading import load_encoder, load_finetuned
from scratchformer.text.inputs import load_scratch_inputs
from scratchformer.text.tokenizers import BOS_ID, load_tokenizers
from scratchformer.transformer import Transformer, collect_attention, load_model
from scratchformer.visualization.analysis.examples import MAX_TOKENS, choose_examples
from scratchformer.visualization.analysis.inspection.attention import (
    pretrained_attention,
    scratch_attention,
    token_embeddings,
)
from scratchformer.visualization.analysis.inspection.attention_summary import (
    attention_rollout,
    sharpest_layer,
)
from scratchformer.visualization.analysis.inspection.attribution import integrated_gradients
from scratchformer.visualization.analysis.inspection.model_input import model_input
from scratchformer.visualization.analysis.predictions import UnavailableError

Make = Callable[[TaskName], Params]


def test_attention_of_the_transformer_is_that_of_its_forward_pass(make_workspace: Make) -> None:
    make_workspace("seq2seq")
    model, pair = load_model(Path("models/scratch")), load_tokenizers(Path("models/scratch"))
    assert isinstance(model, Transformer) and pair.target is not None
    inputs = load_scratch_inputs(Path("models/scratch"))
    kinds = scratch_attention(model, pair, inputs, "cat", "K AE T")
    assert kinds["encoder"].key_tokens == ["c", "a", "t", "</s>"]
    assert kinds["decoder"].query_tokens == ["K", "AE", "T", "</s>"]  # what is predicted
    assert kinds["decoder"].key_tokens == ["<s>", "K", "AE", "T"]  # what was written before
    source = torch.tensor([pair.source.encode("cat").ids])
    target = torch.tensor([[BOS_ID, *pair.target.encode("K AE T").ids[:-1]]])
    with torch.inference_mode(), collect_attention(model) as maps:
        model(source, target)
    for kind in ("encoder", "decoder", "cross"):
        layers = getattr(maps, kind)
        assert kinds[kind].maps.shape == (2, 2, 4, 4)
        assert np.array_equal(kinds[kind].maps[1], layers[1][0].numpy())
        np.testing.assert_allclose(kinds[kind].maps.sum(axis=-1), 1, rtol=1e-5)
    assert not np.triu(kinds["decoder"].maps[0, 0], 1).any()


def test_a_prediction_of_nothing_is_one_end_mark(make_workspace: Make) -> None:
    make_workspace("seq2seq")
    model, pair = load_model(Path("models/scratch")), load_tokenizers(Path("models/scratch"))
    inputs = load_scratch_inputs(Path("models/scratch"))
    assert scratch_attention(model, pair, inputs, "at", "")["cross"].maps.shape == (2, 2, 1, 3)


def test_a_classifier_has_encoder_attention_only(make_workspace: Make) -> None:
    make_workspace("classification")
    model, pair = load_model(Path("models/scratch")), load_tokenizers(Path("models/scratch"))
    inputs = load_scratch_inputs(Path("models/scratch"))
    kinds = scratch_attention(model, pair, inputs, "fever", None)
    assert kinds.keys() == {"encoder"}
    assert kinds["encoder"].maps.shape == (2, 2, 6, 6)


def test_token_embeddings_are_those_of_the_side_that_writes(make_workspace: Make) -> None:
    make_workspace("seq2seq")
    model, pair = load_model(Path("models/scratch")), load_tokenizers(Path("models/scratch"))
    vectors, tokens, side = token_embeddings(model, pair)
    assert side == "target"
    assert tokens[:4] == ["<pad>", "<s>", "</s>", "<unk>"]
    assert set(tokens[4:]) == {"K", "AE", "T", "R", "IH"}
    assert vectors.shape == (9, 16)


def test_every_layer_and_head_of_an_encoder(make_workspace: Make) -> None:
    params = make_workspace("seq2seq")
    inputs = load_inputs(Path("models/finetuned"))
    for model in (load_encoder(params.pretrained, "eager"),
                  load_finetuned(Path("models/finetuned"), "eager")):
        row = model_input(model, inputs, "fever of the liver")
        attention = pretrained_attention(model, row.batch, row.tokens)["encoder"]
        assert attention.maps.shape == (2, 2, 6, 6)
        np.testing.assert_allclose(attention.maps.sum(axis=-1), 1, rtol=1e-5)
        assert attention.key_tokens == ["[CLS]", "fever", "of", "the", "liver", "[SEP]"]


@pytest.mark.filterwarnings("ignore")
def test_fused_attention_gives_no_maps_and_says_so(make_workspace: Make) -> None:
    params = make_workspace("seq2seq")
    inputs = load_inputs(Path("models/finetuned"))
    model = load_encoder(params.pretrained, "sdpa")
    row = model_input(model, inputs, "fever")
    with pytest.raises(UnavailableError, match="BertModel returned no attention maps"):
        pretrained_attention(model, row.batch, row.tokens)


def test_a_long_text_is_drawn_as_the_model_reads_it(make_workspace: Make) -> None:
    params = make_workspace("seq2seq")
    inputs = load_inputs(Path("models/finetuned"))
    encoder = load_encoder(params.pretrained, "eager")
    row = model_input(encoder, inputs, "fever " * 500)
    shape = pretrained_attention(encoder, row.batch, row.tokens)["encoder"].maps.shape
    assert shape[-1] == inputs.rules.max_source_length


def test_typed_marks_are_drawn_as_text(make_workspace: Make) -> None:
    params = make_workspace("seq2seq")
    encoder = load_encoder(params.pretrained, "eager")
    row = model_input(encoder, load_inputs(Path("models/finetuned")), "fever [SEP] blood [CLS]")
    unknown = ["[UNK]"] * 3  # a bracket, a name, a bracket
    assert row.tokens == ["[CLS]", "fever", *unknown, "blood", *unknown, "[SEP]"]
    (ids,) = row.batch["input_ids"].tolist()
    assert (ids[0], ids[-1]) == (2, 3) and ids.count(2) == ids.count(3) == 1


def test_attributions_add_up_to_the_change_of_the_logit(make_workspace: Make) -> None:
    make_workspace("seq2seq")
    tokenizer = load_tokenizer_folder(Path("models/finetuned"))
    model = load_finetuned(Path("models/finetuned"), "eager")
    text = "fever of the liver"
    inputs = load_inputs(Path("models/finetuned"))
    found = integrated_gradients(model, tokenizer, model_input(model, inputs, text))
    assert found.tokens == ["[CLS]", "fever", "of", "the", "liver", "[SEP]"]
    batch = tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**batch).logits[0]
        batch["input_ids"][0, 1:-1] = tokenizer.pad_token_id
        empty = model(**batch).logits[0]
    assert found.label == int(logits.argmax())
    assert found.change == pytest.approx(float(logits[found.label] - empty[found.label]), abs=1e-7)
    assert abs(found.change) > 1e-6
    assert found.values.sum() == pytest.approx(found.change, abs=0.02 * abs(found.values).sum())
    assert found.values[0] == found.values[-1] == 0  # special tokens stand in both texts


def test_without_captum_a_line_says_what_to_install(
    make_workspace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_workspace("seq2seq")
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    model = load_finetuned(Path("models/finetuned"), "eager")
    with pytest.raises(UnavailableError, match=r"pip install 'scratchformer\[attribution\]'"):
        folder = Path("models/finetuned")
        row = model_input(model, load_inputs(folder), "fever")
        integrated_gradients(model, load_tokenizer_folder(folder), row)


def test_rollout_by_hand() -> None:
    """Two layers that look at the other position: (½A + ½I)² with A the swap is all halves."""
    swap = np.array([[0, 1], [1, 0]], dtype=np.float32)
    maps = np.broadcast_to(swap, (2, 3, 2, 2))
    np.testing.assert_allclose(attention_rollout(maps), [[0.5, 0.5], [0.5, 0.5]])
    one = np.array([[[[1, 0], [0.8, 0.2]]]], dtype=np.float32)
    np.testing.assert_allclose(attention_rollout(one), [[1, 0], [0.4, 0.6]], rtol=1e-6)


def test_rollout_multiplies_later_layers_from_the_left() -> None:
    first, second = np.random.default_rng(0).dirichlet([1, 1, 1], (2, 3)).astype(np.float32)
    expected = (0.5 * second + 0.5 * np.eye(3)) @ (0.5 * first + 0.5 * np.eye(3))
    np.testing.assert_allclose(
        attention_rollout(np.stack([first, second])[:, None]), expected, rtol=1e-5
    )


def test_the_sharpest_layer_has_the_lowest_entropy() -> None:
    flat = np.full((2, 4, 4), 0.25, dtype=np.float32)
    sharp = np.broadcast_to(np.eye(4, dtype=np.float32), (2, 4, 4))
    assert sharpest_layer(np.stack([flat, sharp, flat])) == 1


def test_examples_are_right_drawable_and_of_different_lengths() -> None:
    lengths = [5, 9, 1, 200, 7, 6, 8]
    right = [True, True, True, True, False, True, True]
    ids = list("abcdefg")
    chosen = choose_examples(lengths, right, ids, 3)
    assert [lengths[i] for i in chosen] == [8, 9]  # of 5, 6, 8, 9: from the median to the longest
    assert len(set(chosen)) == len(chosen)
    assert all(right[i] and 1 < lengths[i] <= MAX_TOKENS for i in chosen)
    assert choose_examples(lengths, [False] * 7, ids, 1) != []
    assert choose_examples([200, 1], [True, True], ["a", "b"], 2) == []
    assert choose_examples([4], [True], ["a"], 3) == [0]
