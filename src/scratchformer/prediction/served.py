"""A trained model as an MLflow pyfunc: one folder that `mlflow models serve` serves.

MLflow would pickle a Python object; a pickle runs code when it is opened and breaks with the next
version of a library. Here the folder holds the model as it is (safetensors and JSON) and a copy of
this package as the code that loads it: MLflow imports this module and calls `_load_pyfunc`.
"""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchformer.base.errors import DataError
from scratchformer.base.files import write_whole_folder
from scratchformer.base.tasks import CLASSIFICATION
from scratchformer.prediction.models import Predictor, load_predictor
from scratchformer.prediction.rows_out import answer_columns
from scratchformer.record.calibration import FILE as CALIBRATION_FILE
from scratchformer.record.calibration import find_calibration

if TYPE_CHECKING:
    import pandas as pd

BATCH_ROWS = 64
INPUT_COLUMNS = (CLASSIFICATION.input_field, CLASSIFICATION.pair_field)
_NEEDED = (
    "torch", "transformers", "tokenizers", "safetensors", "pydantic", "psutil", "rich",
    "ruamel.yaml", "rapidfuzz", "numpy", "pandas", "pyarrow", "scipy",
)  # fmt: skip


class ServedModel:
    """What MLflow calls: a table with a column `text` in, the same rows with answers out."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(
        self, model_input: "pd.DataFrame", params: dict[str, Any] | None = None
    ) -> "pd.DataFrame":
        """Columns `prediction`, `description` (of labels) and `probability`, then `prediction_2`,
        … up to `top_k`.

        Args:
            model_input: the column `text` is read; of a model of pairs also `text_pair`.
            params: `top_k`, answers for each text; `beam`, width of the search for models that
                write text (1 is greedy).
        """
        import pandas as pd

        asked = params or {}
        columns = [name for name in INPUT_COLUMNS if name in model_input]
        texts = [[str(text) for text in model_input[name]] for name in columns]
        rows = []
        for start in range(0, len(model_input), BATCH_ROWS):
            first, *second = (column[start : start + BATCH_ROWS] for column in texts)
            answers = self._predictor(
                first, asked.get("top_k", 1), asked.get("beam", 1), "cut", *second
            )
            rows += [answer_columns(each) for each in answers]
        return pd.DataFrame(rows, index=model_input.index)


def _load_pyfunc(data_path: str) -> ServedModel:
    """The name and the signature are MLflow's."""
    return ServedModel(load_predictor(Path(data_path)))


def export_pyfunc(model: Path, folder: Path, example: str, card: str | None = None) -> None:
    """Write `folder`: model, code, signature, input example, requirements, and the model card.

    Args:
        model: models/scratch, models/finetuned or another folder that `load_predictor` reads.
        example: a text that the model is asked at once; the answer gives the signature. A model
            of pairs reads it as both texts.
        card: Markdown for README.md.

    Raises:
        DataError: there is no model, or something is at `folder` already.
    """
    import pandas as pd

    if folder.exists():
        raise DataError(f"{folder}: exists already; remove it or choose another name")
    predictor = load_predictor(model)
    columns = INPUT_COLUMNS if predictor.inputs.rules.pairs else INPUT_COLUMNS[:1]
    inputs = pd.DataFrame({name: [example] for name in columns})
    outputs = ServedModel(predictor).predict(inputs)

    from mlflow import pyfunc
    from mlflow.models import infer_signature

    with write_whole_folder(folder) as whole:
        pyfunc.save_model(
            whole,
            loader_module=__name__,
            data_path=str(model),
            code_paths=[str(Path(__file__).parents[1])],
            signature=infer_signature(inputs, outputs, params={"top_k": 1, "beam": 1}),
            input_example=inputs,
            pip_requirements=[f"{name}=={_public_version(name)}" for name in _NEEDED],
        )
        calibration = find_calibration(model)
        if calibration is not None:
            shutil.copyfile(calibration, whole / "data" / model.name / CALIBRATION_FILE)
        if card is not None:
            (whole / "README.md").write_text(card, encoding="utf-8")


def _public_version(name: str) -> str:
    """ "2.13.0" of "2.13.0+cpu": the build is the machine's affair."""
    return version(name).partition("+")[0]
