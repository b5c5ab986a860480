"""The tools of the documentation are scripts beside it; here they are imported as modules."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "tools"))
