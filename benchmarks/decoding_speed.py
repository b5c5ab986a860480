"""How fast is decoding, beside `generate` of transformers and CTranslate2, the same model?

    python benchmarks/decoding_speed.py FOLDER [--sentences 256] [--turns 5]

FOLDER has train.en.gz, train.de.gz and test_2016_flickr.en.gz of Multi30k. A model of 4+4 layers,
d 128, FFN 256 and 8,000 joint pieces learns for `--updates` updates, so that answers end by
themselves; then all contenders write the same test sentences in turns, one thread, batches of 64
of about the same length, as `evaluate` and `predict` make them and CTranslate2 does by itself.
Shares of equal texts are counted against ours. Needs the extra `ctranslate2`.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from multi30k import joint_pieces, read, training_pairs
from turns import in_turns, machine_line, table

from scratchformer.pretrained.conversion import to_transformers
from scratchformer.pretrained.conversion.ctranslate2 import to_ctranslate2
from scratchformer.runtime.device import open_machine
from scratchformer.text.tokenizers import TokenizerPair
from scratchformer.transformer import Transformer, TransformerConfig, beam_search, greedy

LONGEST, BATCH = 40, 64
Written = list[list[int]]


def padded(rows: list[list[int]]) -> torch.Tensor:
    tensors = [torch.tensor(row[-LONGEST:]) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)


def learned(pair: TokenizerPair, folder: Path, updates: int, norm: str) -> Transformer:
    """The model after some updates on batches of equal numbers of rows, lengths sorted."""
    torch.manual_seed(0)
    size = pair.source.get_vocab_size()
    model = Transformer(TransformerConfig(
        source_vocab_size=size, target_vocab_size=size, d_model=128, num_heads=4, d_ff=256,
        num_encoder_layers=4, num_decoder_layers=4, norm_position=norm, max_length=64,
    ))  # type: ignore[arg-type]  # fmt: skip
    rows = sorted(training_pairs(folder, pair), key=lambda pair: len(pair[1]))
    draw = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(updates):
        first = int(torch.randint(0, len(rows) - BATCH, (1,), generator=draw))
        chosen = zip(*rows[first : first + BATCH], strict=True)
        source, target = (padded(list(side)) for side in chosen)
        begin = torch.cat([torch.ones_like(target[:, :1]), target[:, :-1]], dim=1)
        logits = model(source, begin).flatten(0, 1)
        F.cross_entropy(logits, target.flatten(), ignore_index=0).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def contenders(
    model: Transformer, pair: TokenizerPair, sources: list[list[int]], beam: int, folder: Path
) -> dict[str, Callable[[], Written]]:
    """name → what writes all sources and returns the ids, EOS and padding left out."""
    import ctranslate2

    theirs = to_transformers(model)
    names = [[pair.source.id_to_token(each) for each in row] for row in sources]
    number = {pair.source.id_to_token(each): each for each in range(pair.source.get_vocab_size())}
    batches = [sources[at : at + BATCH] for at in range(0, len(sources), BATCH)]

    def ours() -> Written:
        found = []
        for batch in batches:
            made = (
                greedy(model, padded(batch), LONGEST)
                if beam == 1
                else beam_search(model, padded(batch), beam, LONGEST)
            )
            found += made.ids.tolist()
        return found

    def generate() -> Written:
        found = []
        with torch.inference_mode():
            for batch in batches:
                source = padded(batch)
                found += theirs.generate(
                    source, attention_mask=(source != 0).long(), num_beams=beam,
                    max_new_tokens=LONGEST, max_length=None, do_sample=False,
                )[:, 1:].tolist()  # fmt: skip
        return found

    def engine(kind: str) -> Callable[[], Written]:
        translator = ctranslate2.Translator(str(folder), compute_type=kind, intra_threads=1)

        def run() -> Written:
            made = translator.translate_batch(
                names, beam_size=beam, max_batch_size=BATCH, min_decoding_length=0,
                max_decoding_length=LONGEST, max_input_length=0,
            )  # fmt: skip
            return [[number[token] for token in each.hypotheses[0]] for each in made]

        return run

    return {
        "ours": ours,
        "transformers generate": generate,
        "CTranslate2 float32": engine("float32"),
        "CTranslate2 int8": engine("int8"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sentences", type=int, default=256)
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--norm", choices=["pre", "post"], default="pre")
    arguments = parser.parse_args()
    open_machine("cpu", threads=1)
    pair = joint_pieces(arguments.folder)
    model = learned(pair, arguments.folder, arguments.updates, arguments.norm)
    texts = read(arguments.folder / "test_2016_flickr.en.gz")[: arguments.sentences]
    sources = [encoding.ids for encoding in pair.source.encode_batch(texts)]
    sources.sort(key=len, reverse=True)
    print(machine_line("torch", "transformers", "ctranslate2"))
    with tempfile.TemporaryDirectory() as place:
        to_ctranslate2(model, pair).save(place)
        for beam in (1, 5):
            runs = contenders(model, pair, sources, beam, Path(place))
            marks = {0, 1, 2}
            texts_of = {
                name: [[each for each in row if each not in marks] for row in run()]
                for name, run in runs.items()
            }
            mean = sum(map(len, texts_of["ours"])) / len(sources)
            works = {
                name: (lambda run=run: float(len(run()))) for name, run in runs.items()
            }  # fmt: skip
            print(f"\nbeam {beam}, {len(sources)} sentences, {mean:.1f} tokens an answer\n")
            print(table(in_turns(works, arguments.turns), "sentences a second"))
            for name, found in texts_of.items():
                equal = sum(a == b for a, b in zip(found, texts_of["ours"], strict=True))
                print(f"\n{name}: {equal} of {len(sources)} texts are ours", end="")
            print()


if __name__ == "__main__":
    main()
