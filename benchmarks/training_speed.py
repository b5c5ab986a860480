"""How fast is a training update, beside transformers' Marian, torch.nn and JoeyNMT, same batches?

    python benchmarks/training_speed.py FOLDER [--turns 5]

FOLDER has train.en.gz and train.de.gz of Multi30k. All contenders have 4+4 layers, d 128, FFN 256,
dropout 0.3, one matrix of 8,000 joint pieces for both embeddings and the output, pre-norm, and do
whole updates on the same batches of 2,048 positions: forward, smoothed cross-entropy, backward,
clipping, torch's fused AdamW; one thread, in turns. Marian has our weights: its loss without
dropout is compared first. "The matrix products alone" does the products of our updates and nothing
else, into memory that is there already: no program that does these products can be faster.

JoeyNMT takes part where it can be imported. It wants other versions than this project, so put it
into a folder of its own: `pip install --no-deps --target PLACE joeynmt tensorboard absl-py
subword-nmt sacremoses portalocker grpcio markdown werkzeug`, then `PYTHONPATH=PLACE`.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import torch
import torch.nn.functional as F
from multi30k import joint_pieces, training_pairs
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from turns import in_turns, machine_line, table

from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.data.tokenized.batches import Batch, TokenBatches
from scratchformer.params import TrainScratch, load_params
from scratchformer.pretrained.conversion import to_transformers
from scratchformer.runtime.device import open_machine
from scratchformer.training.build import build_objective
from scratchformer.training.loop import Training
from scratchformer.transformer import Transformer

UPDATES_IN_TURN = 4
SMOOTHING, DROPOUT, CLIP = 0.1, 0.3, 1.0
Update = Callable[[int], int]  # does update number i, returns its target tokens


def settings_of() -> TrainScratch:
    settings = load_params().train_scratch
    model = settings.model.model_copy(update={
        "d_model": 128, "num_heads": 4, "d_ff": 256, "num_encoder_layers": 4,
        "num_decoder_layers": 4, "dropout": DROPOUT, "activation": "relu", "tie_embeddings": "all",
    })  # fmt: skip
    return settings.model_copy(update={
        "model": model, "label_smoothing": SMOOTHING, "clip_norm": CLIP, "batch_tokens": 2048,
        "accumulate": 1, "diagnose_every": 0,
    })  # fmt: skip


class TorchTransformer(nn.Module):
    """torch.nn.Transformer with what it leaves out: embeddings, positions, tied output."""

    def __init__(self, settings: TrainScratch, vocabulary: int) -> None:
        super().__init__()
        model = settings.model
        self.embedding = nn.Embedding(vocabulary, model.d_model)
        self.positions = nn.Parameter(torch.randn(512, model.d_model) / 10, requires_grad=False)
        self.dropout = nn.Dropout(model.dropout)
        self.transformer = nn.Transformer(
            model.d_model, model.num_heads, model.num_encoder_layers, model.num_decoder_layers,
            model.d_ff, model.dropout, batch_first=True, norm_first=True,
        )  # fmt: skip
        nn.init.normal_(self.embedding.weight, std=model.d_model**-0.5)
        self.scale = model.d_model**0.5

    def embed(self, ids: Tensor) -> Tensor:
        return self.dropout(self.embedding(ids) * self.scale + self.positions[: ids.shape[1]])

    def forward(self, source: Tensor, begin: Tensor) -> Tensor:
        hidden = self.transformer(
            self.embed(source),
            self.embed(begin),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(begin.shape[1]),
            src_key_padding_mask=source == 0,
            memory_key_padding_mask=source == 0,
            tgt_is_causal=True,
        )
        return hidden @ self.embedding.weight.T


def tensors(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Source, decoder input (BOS first) and target, each [batch, length]."""
    assert batch.target is not None
    target = torch.from_numpy(batch.target)
    begin = torch.cat([torch.ones_like(target[:, :1]), target[:, :-1]], dim=1)
    return torch.from_numpy(batch.source), begin, target


def smoothed(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(
        logits.flatten(0, 1), target.flatten(), ignore_index=0, label_smoothing=SMOOTHING
    )


def updates(model: nn.Module, batches: TokenBatches, loss_of: Callable[..., Tensor]) -> Update:
    """What everybody writes around a model: `loss_of(source, begin, target)` is the mean loss."""
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def update(index: int) -> int:
        batch = batches.batch(index)
        loss_of(*tensors(batch)).backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return batch.tokens

    return update


def our_updates(training: Training) -> Update:
    training.model.train()

    def update(index: int) -> int:
        before = training.state.tokens
        training.state.step = index
        training.update()
        return training.state.tokens - before

    return update


def marian(model: Transformer) -> tuple[nn.Module, Callable[..., Tensor]]:
    """transformers' Marian with the weights of `model`."""
    theirs = to_transformers(model)

    def loss_of(source: Tensor, begin: Tensor, target: Tensor) -> Tensor:
        logits = theirs(
            input_ids=source, attention_mask=(source != 0).long(), decoder_input_ids=begin,
            use_cache=False,
        ).logits  # fmt: skip
        return smoothed(logits, target)

    return theirs, loss_of


def joeynmt(settings: TrainScratch, vocabulary: int) -> tuple[nn.Module, Callable[..., Tensor]]:
    """JoeyNMT's model and its own loss. Its special ids are others: unknown, padding, BOS, EOS."""
    from joeynmt.model import build_model  # type: ignore[import-not-found]
    from joeynmt.vocabulary import Vocabulary  # type: ignore[import-not-found]

    special = SimpleNamespace(
        unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>", sep_token=None,
        unk_id=0, pad_id=1, bos_id=2, eos_id=3, sep_id=None, lang_tags=[],
    )  # fmt: skip
    words = Vocabulary([f"piece{number}" for number in range(4, vocabulary)], special)
    model = settings.model
    side = {
        "type": "transformer", "num_layers": model.num_encoder_layers, "layer_norm": "pre",
        "num_heads": model.num_heads, "hidden_size": model.d_model, "ff_size": model.d_ff,
        "dropout": model.dropout, "activation": "relu",
        "embeddings": {"embedding_dim": model.d_model, "scale": True, "dropout": 0.0},
    }  # fmt: skip
    both = {"encoder": side, "decoder": side, "tied_embeddings": True, "tied_softmax": True,
            "initializer": "xavier_uniform", "embed_initializer": "xavier_uniform"}  # fmt: skip
    theirs = build_model(both, src_vocab=words, trg_vocab=words)
    theirs.loss_function = ("crossentropy", SMOOTHING)
    ids = torch.arange(vocabulary)
    ids[:4] = torch.tensor([1, 2, 3, 0])

    def loss_of(source: Tensor, begin: Tensor, target: Tensor) -> Tensor:
        source, begin, target = ids[source], ids[begin], ids[target]
        mask = (source != 1).unsqueeze(1)
        total, *_ = theirs(
            "loss", src=source, src_mask=mask, src_length=mask.sum(-1).squeeze(1),
            trg_input=begin, trg=target, trg_mask=(target != 1).unsqueeze(1),
        )  # fmt: skip
        return total / (target != 1).sum()

    return theirs, loss_of


class Products(TorchDispatchMode):
    """Notes the sizes and kinds of the matrix products that are done while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[torch.dtype, tuple[int, ...], tuple[int, ...]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in ("mm", "bmm"):
            self._note(args[0], tuple(args[0].shape), tuple(args[1].shape))
        elif name in ("addmm", "baddbmm"):
            self._note(args[1], tuple(args[1].shape), tuple(args[2].shape))
        elif name == "_scaled_dot_product_flash_attention_for_cpu":
            self._attention(args[0], args[1], ("scores", "mix"))
        elif name == "_scaled_dot_product_flash_attention_for_cpu_backward":
            self._attention(args[1], args[2], ("scores", "mix", "mix", "keys", "keys"))
        return func(*args, **(kwargs or {}))

    def _note(self, example: Tensor, left: tuple[int, ...], right: tuple[int, ...]) -> None:
        self.found.append((example.dtype, left, right))

    def _attention(self, query: Tensor, key: Tensor, products: tuple[str, ...]) -> None:
        """Of one kernel: [n, d] x [d, m], [n, m] x [m, d] and [m, n] x [n, d], for each head."""
        (batch, heads, n, d), m = query.shape, key.shape[2]
        sizes = {"scores": ((n, d), (d, m)), "mix": ((n, m), (m, d)), "keys": ((m, n), (n, d))}
        for product in products:
            left, right = sizes[product]
            self._note(query, (batch * heads, *left), (batch * heads, *right))


def products_alone(update: Update) -> Update:
    """The products of an update again, on random numbers, each into memory of its own size."""
    memory: dict[Any, Tensor] = {}
    noted: dict[int, tuple[list[tuple[Tensor, Tensor, Tensor]], int]] = {}

    def of(kind: torch.dtype, shape: tuple[int, ...], role: str) -> Tensor:
        key = (kind, shape, role)
        if key not in memory:
            memory[key] = torch.randn(shape).to(kind)
        return memory[key]

    def run(index: int) -> int:
        if index not in noted:
            with Products() as products:
                tokens = update(index)
            noted[index] = [
                (of(k, a, "left"), of(k, b, "right"), of(k, (*a[:-1], b[-1]), "out"))
                for k, a, b in products.found
            ], tokens
        found, tokens = noted[index]
        with torch.no_grad():
            for left, right, out in found:
                torch.matmul(left, right, out=out)
        return tokens

    return run


def compare_losses(training: Training, theirs: nn.Module, loss_of: Callable[..., Tensor]) -> None:
    """Both without dropout, on one batch; they have the same weights."""
    batch = training.batches.batch(0)
    theirs.eval()
    training.model.eval()
    with torch.no_grad():
        source, begin, target = tensors(batch)
        ours = smoothed(training.model(source, begin), target).item()
        print(f"loss of one batch: ours {ours:.5f}, Marian {loss_of(source, begin, target):.5f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    open_machine("cpu", threads=1)  # as the stage does; all contenders get the same allocator
    settings = settings_of()
    pair = joint_pieces(arguments.folder)
    vocabulary = pair.source.get_vocab_size()
    source, target = zip(*training_pairs(arguments.folder, pair), strict=True)
    kind = pa.list_(pa.int32())
    rows = pa.table({
        "row": pa.array(range(len(source)), pa.int32()),
        "source": pa.array(source, kind), "target": pa.array(target, kind),
    })  # fmt: skip
    batches = TokenBatches(rows, settings.batch_tokens, seed=0)
    valid = TokenBatches(rows.slice(0, 10), settings.batch_tokens, seed=0)
    info = {
        "task": "seq2seq", "source_vocab_size": vocabulary, "target_vocab_size": vocabulary,
        "max_source_length": 512, "max_target_length": 512, "shared_vocabulary": True,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        objective = build_objective(settings, info, valid, seed=0)
        training = Training(objective, batches, settings, 0, Checkpoints(Path(folder)))
        assert isinstance(training.model, Transformer)
        theirs, loss_of = marian(training.model)
        print(machine_line("torch", "transformers", "joeynmt"))
        compare_losses(training, theirs, loss_of)
        ours = our_updates(training)
        plain = TorchTransformer(settings, vocabulary)
        sides: dict[str, Update] = {
            "ours": ours,
            "the matrix products alone": products_alone(ours),
            "transformers Marian": updates(theirs, batches, loss_of),
            "torch.nn.Transformer": updates(
                plain, batches, lambda source, begin, target: smoothed(plain(source, begin), target)
            ),
        }
        try:
            joey, loss_of_joey = joeynmt(settings, vocabulary)
            sides["JoeyNMT"] = updates(joey, batches, loss_of_joey)
        except ModuleNotFoundError as error:
            print(f"without JoeyNMT: {error}")
        works = {name: _turn(update) for name, update in sides.items()}
        padding = f"padding {batches.padding_share:.1%}"
        print(f"batches of {settings.batch_tokens} positions, {padding}\n")
        print(table(in_turns(works, arguments.turns), "target tokens a second"))


def _turn(update: Update) -> Callable[[], float]:
    return lambda: float(sum(update(index) for index in range(UPDATES_IN_TURN)))


if __name__ == "__main__":
    main()
