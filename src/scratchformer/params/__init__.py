"""params.yaml as frozen, typed objects: the one home of configuration.

Every stage calls `load_params` first, so a wrong key, type or value ends the run before anything
heavy is imported. `schema` says what may stand in the file, `reading` what is wrong with it.
"""

from scratchformer.params.optimizers import AveragingSettings, OptimizerSettings
from scratchformer.params.pretrained import Pretrained
from scratchformer.params.reading import load_params, parse_params, read_yaml
from scratchformer.params.schema import (
    Evaluate,
    Finetune,
    GateName,
    Model,
    Params,
    Prepare,
    Run,
    Split,
    Tokenize,
    TokenizeFinetune,
    Tokenizer,
    TokenizeScratch,
    Track,
    Tracking,
    TrainScratch,
    Visualize,
)
from scratchformer.params.section import Section
from scratchformer.params.sources import (
    FileFormat,
    FilesSource,
    GeneratedSource,
    HubSource,
    PackageSource,
    Source,
)

__all__ = [
    "AveragingSettings",
    "Evaluate",
    "FileFormat",
    "FilesSource",
    "Finetune",
    "GateName",
    "GeneratedSource",
    "HubSource",
    "Model",
    "OptimizerSettings",
    "PackageSource",
    "Params",
    "Prepare",
    "Pretrained",
    "Run",
    "Section",
    "Source",
    "Split",
    "Tokenize",
    "TokenizeFinetune",
    "TokenizeScratch",
    "Tokenizer",
    "Track",
    "Tracking",
    "TrainScratch",
    "Visualize",
    "load_params",
    "parse_params",
    "read_yaml",
]
