"""What the systems of reports/metrics.json are called, wherever a person reads of them."""

SYSTEM_NAMES = {
    "copy": "copy of the source",
    "nearest": "answer of the most similar training row",
    "letter_context": "letters by their context (IGTree)",
    "majority": "majority class",
    "tfidf": "TF-IDF + logistic regression",
    "before": "pretrained, before (zero-shot)",
    "probe": "pretrained, frozen + linear probe",
    "scratch": "Transformer from scratch",
    "after": "pretrained, after fine-tuning",
}
# Of the controls; they are listed after the simple ones.
WITH_TRANSFORMER = ("probe", "scratch")
