"""Damaged and hostile model files: how many are noticed, of mtlearn, torch.save and pickle.

A small fitted network is saved in three ways: by mtlearn.persistence.save, its weights by
torch.save (and loaded with weights_only=True), and the estimator by pickle. Single bits of each
file are flipped, its end is cut off, and random bytes are put in its place. Then it is loaded, and
the predictions are compared with those before, in every bit. A child process loads the files, since
a damaged pickle may end the process that loads it.
"""

import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from _timing import arguments, one_thread, table, write

one_thread()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from mtlearn import MultiOutputNet  # noqa: E402
from mtlearn.exceptions import ModelFileError  # noqa: E402
from mtlearn.persistence import load, save  # noqa: E402
from mtlearn.trunks import MLP  # noqa: E402

OURS, TORCH, PICKLE = "mtlearn", "torch.save", "pickle"
NUMBERS = {"flipped bits": 5000, "truncations": 500, "random files": 500}
REFUSED, SAME, OTHER, LATER, ENDED = (
    "refused",
    "predicts the same",
    "predicts something else",
    "fails in predict",
    "ends the process",
)
MALICIOUS = Path(__file__).parents[1] / "tests" / "persistence" / "malicious.py"
MORE_MEMORY = 4 * 2**30


def make_net() -> tuple[Any, Any]:
    X = np.random.default_rng(0).normal(size=(200, 5))
    y = {"price": 10 + X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")}
    return MultiOutputNet(MLP((32, 32)), max_epochs=5, random_state=0).fit(X, y), X


def write_file(kind: str, net: Any, path: Path) -> None:
    if kind == OURS:
        save(net, path)
    elif kind == TORCH:
        torch.save(net.module_.state_dict(), path)
    else:
        path.write_bytes(pickle.dumps(net))


def reader(kind: str, net: Any) -> Callable[[Path], Any]:
    """Return what loads a file of a kind as an estimator."""
    if kind == OURS:
        return load
    if kind == PICKLE:
        return lambda path: pickle.loads(path.read_bytes())

    def read(path: Path) -> Any:
        net.module_.load_state_dict(torch.load(path, weights_only=True))
        return net

    return read


def damaged(what: str, data: bytes, number: int) -> Iterator[bytes]:
    """Yield the damaged files."""
    rng = np.random.default_rng(0)
    if what == "flipped bits":
        for bit in rng.choice(8 * len(data), number, replace=8 * len(data) < number):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << int(bit % 8)
            yield bytes(flipped)
    elif what == "truncations":
        for size in rng.choice(len(data), number, replace=False):
            yield data[:size]
    else:
        for i in range(number):
            begin = data[: int(rng.integers(0, 200))] if i % 2 else b""
            yield begin + rng.bytes(int(rng.integers(1, 2 * len(data))))


def child(kind: str, what: str, number: int, start: int) -> None:
    """Load the files from the one at `start` on, and print what each did."""
    net, X = make_net()
    expected = net.predict(X)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY, used + MORE_MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write_file(kind, net, path)
        read = reader(kind, net)
        for i, content in enumerate(damaged(what, path.read_bytes(), number)):
            if i < start:
                continue
            path.write_bytes(content)
            begin = time.perf_counter()
            outcome, error = outcome_of(read, path, X, expected)
            seconds = time.perf_counter() - begin
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps([outcome, error, seconds, peak]), flush=True)


def outcome_of(read: Callable[[Path], Any], path: Path, X: Any, expected: Any) -> tuple[str, str]:
    try:
        found = read(path)
    except ModelFileError:
        return REFUSED, "ModelFileError"
    except BaseException as error:  # noqa: BLE001 (which errors there are is the question)
        return REFUSED, type(error).__name__
    try:
        predicted = found.predict(X)
    except BaseException as error:  # noqa: BLE001
        return LATER, type(error).__name__
    return (SAME if predicted == expected else OTHER), ""


def measure(kind: str, what: str, number: int) -> list[list[Any]]:
    """Return what each file did; a new child goes on where one has ended."""
    found: list[list[Any]] = []
    while len(found) < number:
        command = [sys.executable, __file__, "--child", kind, what, str(number), str(len(found))]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3000)
        lines = [line for line in done.stdout.splitlines() if line.startswith('["')]
        found += [json.loads(line) for line in lines]
        if len(found) < number:
            if not lines and done.returncode == 1:
                raise RuntimeError(done.stderr)
            found.append([ENDED, str(done.returncode), 0.0, 0.0])
    return found


def damage_table(share: float) -> str:
    rows = []
    for what, of_all in NUMBERS.items():
        number = round(of_all * share)
        for kind in (OURS, TORCH, PICKLE):
            found = measure(kind, what, number)
            counts = Counter(outcome for outcome, *_ in found)
            errors = {error for outcome, error, *_ in found if outcome == REFUSED}
            slowest = max(seconds for *_, seconds, _ in found)
            peaks = [peak for *_, peak in found if peak]
            cells = [f"{counts[outcome]:,}" for outcome in (REFUSED, SAME, OTHER, LATER, ENDED)]
            more = f"{max(peaks) - min(peaks):,.0f}"
            rows.append([f"{number:,} {what}", kind, *cells, len(errors), f"{slowest:.2f}", more])
            print(rows[-1], flush=True)
    header = ["files", "saved by", REFUSED, SAME, OTHER, LATER, ENDED]
    header += ["classes of errors", "slowest (s)", "more memory (MB)"]
    return table(header, [[str(cell) for cell in row] for row in rows])


class Evil:
    """Something whose pickle runs code."""

    def __reduce__(self) -> Any:
        return eval, ("__import__('builtins').__dict__.setdefault('ran', []).append(1)",)


def ran(read: Callable[[], Any]) -> str:
    """Tell whether loading runs what is in a file."""
    import builtins

    vars(builtins).pop("ran", None)
    try:
        read()
    except BaseException as error:  # noqa: BLE001
        if "ran" not in vars(builtins):
            return f"refused ({type(error).__name__})"
    return "ran" if "ran" in vars(builtins) else "loaded"


def hostile_table() -> str:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(MALICIOUS), folder], capture_output=True, text=True, check=True
        )
        results = json.loads(done.stdout).values()
        path = Path(folder) / "evil"
        path.write_bytes(pickle.dumps(Evil()))
        of_torch = Path(folder) / "evil.pt"
        torch.save(Evil(), of_torch)
        rows = [
            ["a pickle that runs code", "mtlearn.persistence.load", ran(lambda: load(path))],
            ["", "pickle.load", ran(lambda: pickle.loads(path.read_bytes()))],
            ["", "torch.load", ran(lambda: torch.load(of_torch, weights_only=True))],
            [
                "",
                "torch.load, weights_only=False",
                ran(lambda: torch.load(of_torch, weights_only=False)),
            ],
        ]
    refused = sum(result["raised"] == "ModelFileError" for result in results)
    events = sum(len(result["seen"]) for result in results)
    slowest = max(result["seconds"] for result in results)
    text = f"{refused} refused; {events} events of code, imports or processes; {slowest:.1f} s"
    rows.insert(0, [f"{len(results)} hostile files", "mtlearn.persistence.load", text])
    return table(["files", "loaded by", "what happened"], rows)


def main() -> None:
    """Print the tables."""
    if "--child" in sys.argv:
        kind, what, number, start = sys.argv[2:]
        child(kind, what, int(number), int(start))
        return
    args = arguments(__doc__ or "")
    texts = [damage_table(0.02 if args.quick else 1.0), hostile_table()]
    print("\n\n".join(texts))
    if args.write:
        write("model_files", texts)


if __name__ == "__main__":
    main()
