import os
import signal
from pathlib import Path

import pytest

# Both are read when Keras and scipy are first imported.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("SCIPY_ARRAY_API", "1")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_folder():
    """The folder of real data sets, which is not part of the repository."""
    folder = Path(os.environ.get("MTLEARN_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data are absent: no folder {folder}; set MTLEARN_DATA to theirs")
    return folder


@pytest.fixture
def default_signals():
    """The handlers of a foreground process: a background job of a shell ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    terminate = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
    signal.signal(signal.SIGTERM, terminate)
