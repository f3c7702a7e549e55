"""Every script of the gallery runs by itself, from any folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("plot_*.py"))


@pytest.mark.parametrize(
    "path",
    [
        path if path.stem == "plot_main_job" else pytest.param(path, marks=pytest.mark.slow)
        for path in EXAMPLES
    ],
    ids=lambda path: path.stem,
)
def test_an_example_runs(path, tmp_path):
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if path.stem == "plot_main_job":
        assert (tmp_path / "output" / "main_job.joblib").stat().st_size > 10_000
        assert (tmp_path / "output" / "main_job.png").read_bytes().startswith(b"\x89PNG")
