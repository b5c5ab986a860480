"""Applying a trained model to new texts: `models` predicts, `tables` reads, `rows_out` writes."""

from scratchformer.prediction.answers import Answer
from scratchformer.prediction.models import Predictor, load_predictor
from scratchformer.prediction.tables import predict_file

__all__ = ["Answer", "Predictor", "load_predictor", "predict_file"]
