"""What every stage has in common: parameters in, one clear line and an exit code when it fails."""

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from scratchformer.errors import ScratchformerError
from scratchformer.params import Params, load_params
from scratchformer.terminal import Summary, print_summary

if TYPE_CHECKING:
    from scratchformer.tracking import StageRun


def run_stage(stage: Callable[[Params, "StageRun"], Summary]) -> None:
    """Run one stage as a process of its own and exit with its code.

    With `--debug` on the command line (or `SCRATCHFORMER_DEBUG=1` in the environment, for stages
    that DVC starts) an expected error shows its traceback too.
    """
    start = time.monotonic()
    try:
        params = load_params()
        # The libraries read these once, when they are first imported.
        os.environ["OMP_NUM_THREADS"] = str(params.run.threads)
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if params.run.threads > 1 else "false"
        from scratchformer.tracking import stage_run

        with stage_run(stage.__name__, params) as run:
            summary = stage(params, run)
        print_summary(summary, time.monotonic() - start)
    except ScratchformerError as error:
        if "--debug" in sys.argv or os.environ.get("SCRATCHFORMER_DEBUG") == "1":
            raise
        print(f"{stage.__name__}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print(f"{stage.__name__}: interrupted; run it again to start over", file=sys.stderr)
        sys.exit(130)
