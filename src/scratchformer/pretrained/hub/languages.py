"""Models that mark their texts with a language: mBART, NLLB, M2M100.

Their tokenizers add a code such as "de_DE" to every text. Published tokenizers name no language of
the answers, and would mark inputs and answers alike.
"""

from typing import TYPE_CHECKING, Any

from scratchformer.base.choices import did_you_mean
from scratchformer.base.errors import ParamsError
from scratchformer.params import Pretrained

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def name_languages(
    tokenizer: "PreTrainedTokenizerBase", pretrained: Pretrained, targets: bool
) -> tuple[str | None, str | None]:
    """Set the languages in `tokenizer`; returns the codes of inputs and answers.

    Args:
        targets: whether answers are text.

    Raises:
        ParamsError: a language is missing, is not known, or the tokenizer marks none.
    """
    wanted = {
        "source_language": pretrained.source_language,
        "target_language": pretrained.target_language,
    }
    if not hasattr(tokenizer, "src_lang"):
        for key, code in wanted.items():
            if code is not None:
                raise ParamsError(
                    f"pretrained.{key}: the tokenizer of {pretrained.name} marks no languages; "
                    "remove the key"
                )
        return None, None
    codes = _codes(tokenizer)
    needed = ("source_language", "target_language") if targets else ("source_language",)
    own = {"source_language": tokenizer.src_lang, "target_language": tokenizer.tgt_lang}
    found: dict[str, str | None] = dict.fromkeys(wanted)
    for key in needed:
        code = wanted[key] or (own[key] if own["target_language"] or not targets else None)
        if code is None:
            raise ParamsError(
                f"pretrained.{key}: {pretrained.name} marks every text with its language; name "
                f"it by its code, as {', '.join(codes[:3])}"
            )
        if code not in codes:
            hint = did_you_mean(code, codes)
            raise ParamsError(f"pretrained.{key}: unknown code {code!r}; {hint}")
        found[key] = code
    tokenizer.src_lang = found["source_language"]
    if targets:
        tokenizer.tgt_lang = found["target_language"]
    return found["source_language"], found["target_language"]


def _codes(tokenizer: Any) -> list[str]:
    """The codes that a tokenizer knows: names of special tokens but of M2M100, which maps them."""
    mapped = getattr(tokenizer, "lang_code_to_token", None) or getattr(
        tokenizer, "lang_code_to_id", None
    )
    if mapped:
        return sorted(mapped)
    usual = {tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token, tokenizer.sep_token,
             tokenizer.pad_token, tokenizer.cls_token, tokenizer.mask_token}  # fmt: skip
    return sorted(set(tokenizer.all_special_tokens) - usual)
