"""A small Transformer that the figures look into: it learns, in seconds, to reverse a word."""

from functools import lru_cache

import torch
from torch import Tensor

from scratchformer.transformer import Transformer, TransformerConfig

LETTERS = 26
FIRST_LETTER = 3  # after pad, bos and eos
LONGEST = 10


def words(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random words of 4 to LONGEST letters, and the same reversed; both end with eos."""
    lengths = torch.randint(4, LONGEST + 1, (count, 1), generator=generator)
    letters = torch.randint(FIRST_LETTER, FIRST_LETTER + LETTERS, (count, LONGEST + 1),
                            generator=generator)  # fmt: skip
    place = torch.arange(LONGEST + 1)
    backwards = letters.gather(1, (lengths - 1 - place).clamp(min=0))
    ids = []
    for side in (letters, backwards):
        side = side.masked_fill(place > lengths, 0)
        ids.append(side.masked_fill(place == lengths, 2))
    return ids[0], ids[1]


@lru_cache
def trained(steps: int = 350) -> Transformer:
    """The model after `steps` updates, in evaluation mode."""
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    size = FIRST_LETTER + LETTERS
    model = Transformer(
        TransformerConfig(
            size, size, 64, 4, 128, 2, 2, dropout=0.0, norm_position="pre", max_length=LONGEST + 2
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        source, target = words(32, generator)
        start = torch.full((len(target), 1), model.config.bos_id)
        logits = model(source, torch.cat([start, target[:, :-1]], dim=1))
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(),
                                                 ignore_index=0)  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def spell(word: str) -> tuple[Tensor, Tensor, list[str], list[str]]:
    """Source and target input of one word of small letters; the labels of keys and of queries.

    The query that writes a letter is labelled with the letter that it writes.
    """
    ids = [FIRST_LETTER + ord(letter) - ord("a") for letter in word]
    source, target_input = torch.tensor([[*ids, 2]]), torch.tensor([[1, *reversed(ids)]])
    return source, target_input, [*word, "EOS"], [*reversed(word), "EOS"]
