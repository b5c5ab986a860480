"""A folder of `scratchformer export --as ctranslate2`, asked like any other model.

Tokenizers and rules are ours; CTranslate2 computes. It sorts the texts of a batch by length and
leaves rows that have ended, so large batches pay: `scratchformer predict --batch-size 512`.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from scratchformer.base.errors import DataError
from scratchformer.data.tokenized.texts import encode_texts
from scratchformer.prediction.answers import Answer
from scratchformer.prediction.windows import Long, demand_cut
from scratchformer.runtime.device import machine

PIECE = 64
"""Texts of one matrix product: a larger batch is sorted by length and cut into such pieces."""
PATIENCE = 2
"""A search ends when this many times `beam` hypotheses have ended. With 1 it may end before ours,
which goes on while an open hypothesis is better than the worst ended one."""


class CTranslate2Predictor:
    """An encoder-decoder that was trained here and runs in CTranslate2.

    Raises:
        DataError: the files do not fit together, or CTranslate2 cannot read them.
        ParamsError: CTranslate2 is not installed.
    """

    def __init__(self, folder: Path) -> None:
        from scratchformer.pretrained.conversion.ctranslate2 import import_ctranslate2
        from scratchformer.text.inputs import load_scratch_inputs
        from scratchformer.text.tokenizers import load_tokenizers

        self.inputs = load_scratch_inputs(folder)
        self.target = load_tokenizers(folder).target
        if self.target is None or self.inputs.rules.max_target_length is None:
            raise DataError(f"{folder}: target.json or the length of an answer is missing")
        self.longest = self.inputs.rules.max_target_length
        library, here = import_ctranslate2(), machine()
        kind, _, index = here.device.partition(":")
        try:
            self.engine = library.Translator(
                str(folder),
                device=kind,
                device_index=int(index or 0),
                intra_threads=here.threads,
            )
        except (RuntimeError, ValueError) as error:
            raise DataError(f"{folder}: CTranslate2 cannot load it: {error}") from None

    def __call__(
        self, texts: Sequence[str], top_k: int = 1, beam: int = 1, long: Long = "cut",
        second_texts: Sequence[str] | None = None,
    ) -> list[list[Answer]]:  # fmt: skip
        """See `Predictor`. Raises ParamsError for windows."""
        demand_cut(long)
        read = encode_texts(self.inputs, texts, second_texts)
        found = self.engine.translate_batch(
            [self.inputs.source.tokens(ids) for ids in read.ids],
            beam_size=max(beam, top_k),
            num_hypotheses=top_k,
            max_batch_size=PIECE,
            max_input_length=0,
            min_decoding_length=0,
            max_decoding_length=self.longest,
            patience=PATIENCE,
            return_scores=True,
            return_end_token=True,
        )
        return [
            [
                self._answer(tokens, score)
                for tokens, score in zip(each.hypotheses, each.scores, strict=True)
            ]
            for each in found
        ]

    def _answer(self, tokens: Sequence[str], score: float) -> Answer:
        """`score` is the mean of the log-probabilities of the tokens."""
        assert self.target is not None
        known = (self.target.token_to_id(token) for token in tokens)
        ids = [each for each in known if each is not None]
        return Answer(self.target.decode(ids), math.exp(score * len(tokens)))
