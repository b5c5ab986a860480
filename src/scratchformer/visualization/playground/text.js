// From text to token numbers and back, by the rules of text/tokenizers.py for the algorithms
// `character` and `word`. The special tokens cannot be typed.

"use strict";

class Tokenizer {
  constructor({ tokens, lowercase, unit }, unknown) {
    this.tokens = tokens;
    this.lowercase = lowercase;
    this.unit = unit;
    this.unknown = unknown;
    this.numbers = new Map(tokens.map((token, id) => [token, id]).slice(4));
  }

  // Numbers without EOS. Text is made canonical first: NFC, one blank between words.
  encode(text) {
    const plain = text.normalize("NFC").trim().split(/\s+/u).join(" ");
    const cased = this.lowercase ? plain.toLowerCase() : plain;
    const units = this.unit === "word" ? cased.split(" ") : [...cased];
    return units.filter(Boolean).map((unit) => this.numbers.get(unit) ?? this.unknown);
  }

  show(id) {
    return this.tokens[id] === " " ? "␣" : this.tokens[id];
  }

  join(ids) {
    return ids.filter((id) => id > 3).map((id) => this.tokens[id])
      .join(this.unit === "word" ? " " : "");
  }
}
