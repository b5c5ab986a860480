"""The table of chapter 16, on four words."""

from pathlib import Path

import errors_by_length
import pandas as pd
import pytest


def test_words_phonemes_and_edits_by_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two short words and two long ones; the tree makes one edit, the model three in one word."""
    words = {"source": ["one", "sixsix", "seventh", "elephants"], "reference_length": [2, 4, 6, 8]}
    for system, distance in (("model", [0, 0, 3, 0]), ("igtree", [0, 1, 0, 0])):
        table = pd.DataFrame({**words, "distance": distance})
        table.to_parquet(tmp_path / f"scratch-{system}.parquet")
    monkeypatch.setattr(errors_by_length, "PREDICTIONS", tmp_path)
    errors_by_length.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| 1 to 6 | 2 | 0.0% | 0.0% | nan | 50.0% | 16.7% | 1.00 |")
    assert lines[3].startswith("| 7 to 9 | 2 | 50.0% | 21.4% | 3.00 | 0.0% | 0.0% | nan |")
    assert lines[4] == "| all | 4 | 25.0% | 15.0% | 3.00 | 25.0% | 5.0% | 1.00 |"
    assert lines[-1].endswith("95% of the draws from -16.67% to +37.50%")
