"""Trainings that are killed, and go on from their checkpoint.

Usage: python benchmarks/checkpoints.py [--write]

A fit with ``checkpoint=`` runs in a process of its own, which is killed (SIGKILL): at a random
moment of the training, or while the checkpoint is being written, between the first byte and the
replacement of the last one. The same call is then made again, and runs to its end. The table has
how many of the resumed trainings ended with the same weights and history (a SHA-256 over both) as
one that was never stopped, and how many checkpoints could not be read. With --write it is written
to docs/benchmarks.
"""

import hashlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mtlearn import Checkpoint, MultiOutputNet
from mtlearn._plain_files import read_plain
from mtlearn.trunks import MLP

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks" / "checkpoints.rst"
RANDOM_KILLS, WRITE_KILLS = 100, 25
EPOCHS = 40


def make_data() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 10))
    return X, {"number": X[:, 0] * X[:, 1], "kind": np.where(X[:, 2] > 0, "a", "b")}


def fit(folder: Path | None) -> MultiOutputNet:
    """Return the net, trained with a state that has every part: dropout, schedule, stopping."""
    net = MultiOutputNet(
        MLP((64, 32), dropout=0.1),
        weighting="random",
        learning_rate_schedule="onecycle",
        early_stopping=True,
        n_iter_no_change=EPOCHS,
        max_epochs=EPOCHS,
        random_state=0,
    )
    checkpoint = None if folder is None else Checkpoint(folder, every_epochs=1)
    return net.fit(*make_data(), checkpoint=checkpoint)


def digest(net: MultiOutputNet) -> str:
    """Return the digest of weights and history."""
    found = hashlib.sha256(repr(net.history_).encode())
    for one in getattr(net, "members_", [net]):
        for name, tensor in one.module_.state_dict().items():
            found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def in_process(work: Callable[[], None]) -> int:
    """Run something in a process of its own; return its number."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 (a forked process must not return)
            os._exit(1)
    return child


def end_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def epochs_kept(folder: Path) -> int:
    """Return the epochs behind the checkpoint; 0 if there is none."""
    path = Checkpoint(folder).path
    trainings = read_plain(path)["trainings"].values() if path.exists() else ()
    return max((len(training["history"]) for training in trainings), default=0)


def kill_at_random(folder: Path, seconds: float) -> None:
    """Begin the fit, and kill it after some seconds, unless it ends before."""
    child = in_process(lambda: fit(folder))
    end = time.monotonic() + seconds
    while time.monotonic() < end and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.001)
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # it had ended


def kill_while_writing(folder: Path, at_write: int) -> None:
    """Begin the fit, and kill it while it writes a checkpoint, with the file on disk in part."""

    def work() -> None:
        true, n_writes = os.fsync, 0

        def fsync(handle: int) -> None:
            nonlocal n_writes
            n_writes += 1
            if n_writes == at_write:
                os.ftruncate(handle, max(os.fstat(handle).st_size // 2, 1))
                os.kill(os.getpid(), signal.SIGKILL)
            true(handle)

        os.fsync = fsync
        fit(folder)

    end_of(in_process(work))


def resume(folder: Path, expected: str) -> bool:
    """Run the fit to its end; tell whether it ended as one that was never stopped."""

    def work() -> None:
        if digest(fit(folder)) != expected:
            raise ValueError

    return end_of(in_process(work)) == 0


def trial(kill: Callable[[Path], None], expected: str) -> tuple[bool, bool]:
    """Kill a fit, and resume it; return whether it ended the same, and whether it was readable."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        kill(folder)
        try:
            epochs_kept(folder)
            readable = True
        except ValueError:
            readable = False
        return resume(folder, expected), readable


def measure(n_random: int, n_writes: int) -> list[tuple[str, int, int, int]]:
    """Return for each kind of kill: its name, how many, how many the same, how many unreadable."""
    start = time.monotonic()
    expected = digest(fit(None))
    seconds = time.monotonic() - start
    rng = np.random.default_rng(0)
    kills: dict[str, list[Callable[[Path], None]]] = {
        "at a random moment": [
            (lambda folder, s=s: kill_at_random(folder, s))
            for s in rng.uniform(0, 1.2 * seconds, n_random)
        ],
        "while a checkpoint is written": [
            # each write syncs twice: the file, and its folder
            (lambda folder, n=n: kill_while_writing(folder, 1 + 2 * n))
            for n in rng.integers(0, EPOCHS - 1, n_writes).tolist()
        ],
    }
    table = []
    for name, some in kills.items():
        results = [trial(kill, expected) for kill in some]
        same, readable = (sum(column) for column in zip(*results, strict=True))
        table.append((name, len(some), same, len(some) - readable))
    return table


def main() -> None:
    """Print the table, and with --write put it into the documentation."""
    lines = [
        "==============================  =====  =================  ==========",
        "killed                          kills  ended bit for bit  unreadable",
        "==============================  =====  =================  ==========",
        *(
            f"{name:<32}{n:<7}{same:<19}{bad}"
            for name, n, same, bad in measure(RANDOM_KILLS, WRITE_KILLS)
        ),
        "==============================  =====  =================  ==========",
    ]
    print("\n".join(lines))
    if "--write" in sys.argv:
        TARGET.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
