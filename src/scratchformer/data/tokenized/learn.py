"""The tokenizers of the scratch track, learned from its training split."""

from pathlib import Path

from scratchformer.base.tasks import TASKS
from scratchformer.data.preparation.prepared import load_info
from scratchformer.data.tokenized.encode import training_texts
from scratchformer.params import TokenizeScratch
from scratchformer.text.rules import InputRules
from scratchformer.text.tokenizers import train_tokenizer


def learn_tokenizers(settings: TokenizeScratch, folder: Path) -> InputRules:
    """Write source.json, target.json where answers are text, and inputs.json into `folder`.

    Raises:
        ParamsError: a vocabulary is too small for the characters that occur.
    """
    info = load_info("scratch")
    task = TASKS[info.task]
    pair = [task.pair_field] if info.pairs and task.pair_field else []
    learned, most = {}, settings.sample_rows
    if settings.shared_vocabulary and not task.labelled:
        texts = training_texts("scratch", most, task.input_field, task.answer_column)
        learned = dict.fromkeys(("source", "target"), train_tokenizer(texts, settings.source))
    else:
        texts = training_texts("scratch", most, task.input_field, *pair)
        learned["source"] = train_tokenizer(texts, settings.source)
        if not task.labelled:
            texts = training_texts("scratch", most, task.answer_column)
            learned["target"] = train_tokenizer(texts, settings.target)
    folder.mkdir(parents=True, exist_ok=True)
    for side, tokenizer in learned.items():
        tokenizer.save(str(folder / f"{side}.json"))
    rules = InputRules(
        max_source_length=settings.max_source_length,
        max_target_length=None if task.labelled else settings.max_target_length,
        pairs=info.pairs,
    )
    rules.save(folder)
    return rules
