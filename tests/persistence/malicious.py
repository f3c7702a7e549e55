"""Files that try to do what a model file must not; run as a script, it loads them under a watch.

``python malicious.py folder`` writes them and prints, as JSON, what each load did.
"""

import hashlib
import json
import pickle
import resource
import struct
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import torch

from mtlearn import MultiOutputNet, OnlineMultiOutputNet
from mtlearn.exceptions import ModelFileError
from mtlearn.persistence import load, save
from mtlearn.trunks import MLP, Embedding, Graph, Recurrent

START = len(b'{"__metadata__":{"mtlearn":"') + 8
FORBIDDEN = (
    "code.",
    "compile",
    "ctypes.call_function",
    "ctypes.cdata",
    "ctypes.dlopen",
    "exec",
    "import",
    "marshal.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "os.spawn",
    "os.startfile",
    "os.system",
    "pickle.",
    "shutil.",
    "socket.",
    "subprocess.",
    "tempfile.",
)


class Evil:
    """What a pickle would do if it were loaded."""

    def __reduce__(self):
        return eval, ("__import__('os').system('echo owned')",)


def sealed(header, body):
    """A file with this header, whose digest is right."""
    data = bytearray(struct.pack("<Q", len(header)) + header + body)
    if len(data) > START + 64:
        data[START : START + 64] = b"0" * 64
        digest = hashlib.sha256(data[:START] + data[START + 64 :]).hexdigest()
        data[START : START + 64] = digest.encode()
    return bytes(data)


class Forger:
    """Changes parts of a good file, and seals it again."""

    def __init__(self, path):
        data = path.read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        self.header = json.loads(data[8 : 8 + length])
        self.body = data[8 + length :]

    def text(self):
        return self.header["__metadata__"]["mtlearn"][64:]

    def with_text(self, text, header=None, body=None):
        header = dict(self.header if header is None else header)
        header["__metadata__"] = {"mtlearn": "0" * 64 + text}
        data = json.dumps(header, separators=(",", ":")).encode()
        return sealed(data, self.body if body is None else body)

    def edited(self, edit):
        content = json.loads(self.text())
        edit(content)
        return self.with_text(json.dumps(content, separators=(",", ":")))

    def with_tensor(self, edit, name="weights.trunk.0.weight"):
        header = json.loads(json.dumps(self.header))
        edit(header[name])
        return self.with_text(self.text(), header)

    def with_weight(self, value):
        begin, _ = self.header["weights.trunk.0.weight"]["data_offsets"]
        body = bytearray(self.body)
        body[begin : begin + 8] = struct.pack("<d", value)
        return self.with_text(self.text(), body=bytes(body))

    def raw(self, old, new):
        """The file with other letters in its header."""
        plain = json.dumps(self.header, separators=(",", ":"))
        assert old in plain
        return sealed(plain.replace(old, new, 1).encode(), self.body)


def at(*path):
    """A function that sets what is at a path inside the text of a file."""

    def set_to(value):
        def edit(content):
            for key in path[:-1]:
                content = content[key]
            content[path[-1]] = value

        return edit

    return set_to


def without(*path):
    """A function that removes what is at a path inside the text of a file."""

    def edit(content):
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return edit


STATE = ("estimator", "state")
HEAD = (*STATE, "heads_", "price")
TRUNK = (*STATE, "trunk_")


def of_containers(good):
    """Files whose container is wrong."""
    evil = pickle.dumps(Evil())
    length = len(json.dumps(good.header))
    long = json.dumps({"__metadata__": {"mtlearn": "0" * 64 + " " * (2**24 + 9)}})
    padded = good.header | {"weights.other": {"dtype": "F64", "shape": [0], "data_offsets": [9, 9]}}

    def offsets(begin, end):
        return good.with_tensor(lambda entry: entry.update(data_offsets=[begin, end]))

    def shape(*sizes):
        return good.with_tensor(lambda entry: entry.update(shape=sizes))

    return {
        "a pickle": evil,
        "a pickle behind the magic": good.with_text(good.text())[:START] + evil,
        "a pickle as the text": good.with_text(evil.decode("latin-1")),
        "a pickle as the body": good.with_text(good.text(), body=evil),
        "nothing": b"",
        "eight bytes": b"\x00" * 8,
        "zeros": b"\x00" * 5000,
        "a header of 2^63 bytes": struct.pack("<Q", 2**63) + sealed(b"", b"")[8:] + b"x" * 900,
        "a header of 2^40 bytes": struct.pack("<Q", 2**40) + good.with_text(good.text())[8:],
        "a header without end": sealed(long.encode(), b""),
        "a header cut off": struct.pack("<Q", length + 10**6) + good.with_text(good.text())[8:],
        "the shape 2^50": shape(2**50),
        "a shape that overflows": shape(2**32, 2**32),
        "a negative shape": shape(-8, -5),
        "a shape of floats": shape(8.0, 5.0),
        "shapes without tensors": shape(),
        "offsets that overlap": offsets(0, 320),
        "offsets beyond the end": offsets(2**40, 2**40 + 320),
        "offsets backwards": offsets(320, 0),
        "a hole between tensors": good.with_text(good.text(), padded),
        "an unknown type": good.with_tensor(lambda entry: entry.update(dtype="PY")),
        "a type of objects": good.with_tensor(lambda entry: entry.update(dtype="O")),
        "a further field": good.with_tensor(lambda entry: entry.update(code="import os")),
        "tensors twice": good.raw('"weights.trunk.0.weight":{', '"weights.trunk.0.bias":{'),
        "a path as a name": good.raw('"weights.trunk.0.weight"', '"../../../etc/passwd"'),
        "NaN among the weights": good.with_weight(np.nan),
        "infinity among the weights": good.with_weight(np.inf),
    }


def of_texts(good):
    """Files whose text is wrong."""
    text = good.text()
    many = "0" * 5000
    params = (*TRUNK, "params", "hidden_layer_sizes")
    generator = {"bit_generator": "PCG64", "state": {"state": -1, "inc": 2**200}}
    twister = {
        "bit_generator": "MT19937",
        "state": {"key": {"$objects": [0] * 624, "shape": [624]}, "pos": 10**9},
        "has_gauss": 0,
        "gauss": 0.0,
    }
    edits = {
        "nothing in it": at("estimator")({}),
        "no estimator": at("estimator")({"$part": "MLP", "params": {}, "state": {}}),
        "a module and a function": at("estimator", "$net")("os:system"),
        "a dotted name": at("estimator", "$net")("builtins.eval"),
        "a class of torch": at(*TRUNK, "$part")("torch.nn.Linear"),
        "a class of its own": at(*TRUNK, "$part")("own:Evil"),
        "a private class": at(*TRUNK, "$part")("Part"),
        "a head for a trunk": at(*TRUNK)({"$part": "Regression", "params": {}, "state": {}}),
        "a record that is none": at(*STATE, "_recipe", "$record")("Popen"),
        "objects as others write them": at(*TRUNK)({"py/object": "os.system"}),
        "yaml's objects": at(*TRUNK)("!!python/object/apply:os.system ['id']"),
        "an unknown kind": at(*TRUNK)({"$reduce": ["os.system", "id"]}),
        "a method replaced": at(*HEAD, "state", "decode")("os.system"),
        "a property replaced": at(*TRUNK, "state", "differs_by_output")(True),
        "a class replaced": at(*HEAD, "state", "__class__")("os.system"),
        "an unknown parameter": at(*HEAD, "params", "command")("id"),
        "a parameter out of bounds": at(*HEAD, "params", "delta")(-1.0),
        "an object never asked for": at(*HEAD, "params", "loss")({"$given": "loss"}),
        "an object asked for": at("given")({"loss": "os.system"}),
        "a center of infinity": at(*HEAD, "state", "baseline_")({"$float": "inf"}),
        "layers of 2^40 units": at(*params)([2**40]),
        "a million layers": at(*params)([8] * 10**6),
        "units that do not fit": at(*params)([9]),
        "2^50 features": at(*STATE, "_spec")(2**50),
        "a device that computes nothing": at(*STATE, "_recipe", "fields", "device")("meta"),
        "a device that is a command": at("estimator", "params", "device")({"$device": "cpu; id"}),
        "a generator that cannot be": at("estimator", "params", "random_state")(
            {"$generator": generator}
        ),
        "a generator beyond its end": at("estimator", "params", "random_state")(
            {"$random_state": twister}
        ),
        "a text of 4 GB": at(*STATE, "feature_names_in_")(
            {"$texts": ["a"], "dtype": "U999999999", "shape": [1]}
        ),
        "an array of 2^60 nothings": at(*STATE, "feature_names_in_")(
            {"$objects": [], "shape": [2**60, 2**60]}
        ),
        "a tensor twice": at(*HEAD, "state", "scale_")({"$array": "heads_.price.center_"}),
        "a tensor that is not there": at(*HEAD, "state", "scale_")({"$array": "/etc/passwd"}),
        "a tensor too many": at(*HEAD, "state", "scale_")([1.0]),
        "seeds of no layer": at("estimator", "dropout_seeds")({}),
        "a seed too many": at("estimator", "dropout_seeds", "trunk.9")(1),
        "a seed that cannot be": at("estimator", "dropout_seeds", "trunk.2")(2**70),
        "a field too many": at(*TRUNK, "module")("os"),
        "a header with a field too many": at("code")("import os"),
        "another class than it names": at("class")("Popen"),
        "a parameter set twice": at(*HEAD, "state", "delta")(-1.0),
        "a dict with a key twice": at("estimator", "params", "loss_weights")(
            {"$dict": [["price", 1.0], ["price", 2.0]]}
        ),
        "a number that is an array": at("estimator", "params", "alpha")(
            {"$scalar": {"$texts": ["a"], "dtype": "U1", "shape": [1]}}
        ),
        "names that are none": at(*STATE, "output_names_")({"$scalar": 1}),
        "outputs of other heads": at(*STATE, "output_names_")(["size"]),
        "features of another network": at(*STATE, "n_features_in_")(6),
        "heads that are none": at(*STATE, "heads_", "price")(1),
        "a head without its scale": without(*HEAD, "state", "scale_"),
        "no recipe": without(*STATE, "_recipe"),
        "no weights": without("estimator", "weights"),
        "widths of 2^62": at("estimator", "widths")([[None, 2**62]]),
        "a format to come": at("format")(2),
        "a format that is none": at("format")("1; import os"),
    }
    return {name: good.edited(edit) for name, edit in edits.items()} | {
        "brackets without end": good.with_text("[" * 10**6),
        "brackets with an end": good.with_text("[" * 1000 + "]" * 1000),
        "a million empty lists": good.with_text("[" + "[]," * 10**6 + "[]]"),
        "NaN in the text": good.with_text(text.replace('"alpha":0.002', '"alpha":NaN', 1)),
        "1e999 in the text": good.with_text(text.replace('"alpha":0.002', '"alpha":1e999', 1)),
        "10^5000 in the text": good.with_text(text.replace('"format":1', f'"format":1{many}')),
        "blanks in the text": good.with_text(text.replace('"format":1', '"format": 1', 1)),
        "keys in other words": good.with_text(text.replace('"format"', '"\\u0066ormat"', 1)),
        "a key twice": good.with_text(text.replace('"format":1', '"format":1,"format":1', 1)),
        "letters that are none": good.raw('"weights.trunk.0.weight"', '"\\\\ud800"'),
    }


def of_graphs(good):
    """Files of a trunk of several stages that ask for far more than they hold."""
    stages = (*TRUNK, "params", "stages")
    embed = lambda **params: at(*stages, 0, "$tuple", 1, "params")(params)  # noqa: E731
    return {
        "an embedding of 2^45 ids": good.edited(embed(n_ids=2**45, n_units=4)),
        "sequences of 2^45 ids": good.edited(
            at(*STATE, "_spec", "ids", "fields", "shape")({"$tuple": [2**45]})
        ),
        "sequences of 2^21 ids": good.edited(
            at(*STATE, "_spec", "ids", "fields", "shape")({"$tuple": [2**21]})
        ),
        "stages without end": good.edited(
            at(*stages)([{"$tuple": ["a", {"$given": "x"}, "a"]}] * 10**4)
        ),
    }


def of_streams(good):
    """Files of a stream's learner that ask for far more than they hold."""
    network = (*STATE, "network_")
    state = (*network, "state")
    edits = {
        "a stream of 2^50 features": at(*state, "n_features")(2**50),
        "a stream of layers without end": at(*state, "trunk", "params", "hidden_layer_sizes")(
            [8] * 10**5
        ),
        "a stream that is a process": at(*network, "$state")("Popen"),
        "a stream whose weights are commands": at(*state, "_weights")({"0.weight": "os.system"}),
        "a stream without names": without(*STATE, "_feature_names"),
        "a stream of other features": at(*STATE, "_feature_names")(["x0"]),
        "a stream without its recipe": without(*state, "recipe"),
        "a stream whose classes are none": at(
            *state, "outputs", "price", "state", "labels", "state", "head"
        )(1),
        "a stream whose steps are replaced": at(*state, "learn")("os.system"),
    }
    return {name: good.edited(edit) for name, edit in edits.items()}


def write_files(folder):
    """Write the files and return their names; beside them are three good ones."""
    rng = np.random.default_rng(0)
    X, ids = rng.normal(size=(40, 5)), rng.integers(0, 10, (40, 6))
    y = {"price": X[:, 0]}
    params = {"max_epochs": 2, "random_state": 0}
    net = MultiOutputNet(MLP((8,), dropout=0.1), warm_start=True, **params).fit(X, y)
    graph = Graph([("e", Embedding(10, 4), "ids"), ("r", Recurrent(3), "e")])
    of_graph = MultiOutputNet(graph, **params).fit({"ids": ids}, y)
    save(net, folder / "good")
    save(of_graph, folder / "good graph")
    stream = OnlineMultiOutputNet(MLP((8,)), random_state=0).partial_fit(X, y)
    save(stream, folder / "good stream")
    good = Forger(folder / "good")
    files = of_containers(good) | of_texts(good)
    files |= of_graphs(Forger(folder / "good graph"))
    files |= of_streams(Forger(folder / "good stream"))
    moments = [name for name in good.header if name.endswith("exp_avg")]
    files["moments of another shape"] = good.with_tensor(
        lambda entry: entry.update(shape=[1, *entry["shape"]]), moments[0]
    )
    for name, data in files.items():
        (folder / name.replace("/", " ")).write_bytes(data)
    torch.save({"weights": torch.zeros(3)}, folder / "of torch")
    with zipfile.ZipFile(folder / "a zip bomb", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", "0" * 10**7)
    (folder / "a link to a device").symlink_to("/dev/zero")
    others = ["of torch", "a zip bomb", "a link to a device"]
    return [name.replace("/", " ") for name in files] + others


def main(folder):
    """Load all files; print what happened, what was raised, how long it took, and the memory."""
    names = write_files(folder)
    for good in ("good", "good graph", "good stream"):
        load(folder / good)
    with_limits = {}
    seen = []
    sys.addaudithook(
        lambda event, args: (
            seen.append(f"{event} {args!r}"[:200]) if event.startswith(FORBIDDEN) else None
        )
    )
    for name in names:
        seen.clear()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = time.perf_counter()
        raised, message = "nothing", ""
        try:
            load(folder / name)
        except ModelFileError as error:
            raised, message = "ModelFileError", str(error)
        except Exception as error:  # noqa: BLE001 (what else is raised is what is asked)
            raised, message = type(error).__name__, str(error)
        seconds = time.perf_counter() - begin
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        with_limits[name] = {
            "raised": raised,
            "message": message,
            "seen": list(seen),
            "seconds": seconds,
            "megabytes": grown / 1024,
        }
    json.dump(with_limits, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
