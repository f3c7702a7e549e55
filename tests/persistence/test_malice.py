"""Files made to do harm: nothing is unpickled, run, imported or started, and no memory is taken."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("malicious.py")


@pytest.fixture(scope="module")
def loads(tmp_path_factory):
    """What each malicious file did when a process that watches itself loaded it."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path_factory.mktemp("malicious"))],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_there_are_many_malicious_files(loads):
    assert len(loads) > 70


def test_every_malicious_file_is_refused_with_the_one_exception(loads):
    assert {name for name, done in loads.items() if done["raised"] != "ModelFileError"} == set()


def test_no_malicious_file_unpickles_runs_imports_or_starts_anything(loads):
    assert {name: done["seen"] for name, done in loads.items() if done["seen"]} == {}


def test_every_malicious_file_is_refused_soon_and_in_little_memory(loads):
    slow = {n: d for n, d in loads.items() if d["seconds"] > 20 or d["megabytes"] > 700}
    assert slow == {}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a pickle", "it is a pickle, and no file of mtlearn.persistence.save"),
        ("of torch", "it is a zip archive"),
        ("the shape 2^50", "its tensors are no safetensors"),
        ("offsets that overlap", "its tensors are no safetensors"),
        ("a hole between tensors", "its tensors are no safetensors"),
        ("tensors twice", "a key comes twice"),
        ("a key twice", "a key comes twice"),
        ("NaN among the weights", "not finite"),
        ("brackets with an end", "nested more than 64 times"),
        ("a module and a function", "there is no class 'os:system'"),
        ("layers of 2^40 units", "its parts imply (1099511627776, 5)"),
        ("an embedding of 2^45 ids", "its parts imply (35184372088832, 4)"),
        ("a million layers", "far more layers than it has tensors"),
        ("a method replaced", "a Regression has no attribute 'decode'"),
        ("a generator beyond its end", "a state of a generator that there cannot be"),
        ("a field too many", "a $part with other fields"),
        ("a header with a field too many", "its header is not written as `save` writes it"),
        ("blanks in the text", "its header is not written as `save` writes it"),
        ("another class than it names", "it holds a MultiOutputNet, and names another class"),
        ("a parameter set twice", "a Regression has no attribute 'delta'"),
        ("a seed that cannot be", "the layer 'trunk.2' has a seed that there cannot be"),
        ("no weights", "its 'history_' is missing, or no list"),
        ("no recipe", "not what `save` writes (AttributeError"),
        ("a stream of other features", "its features are not those of its network"),
        ("a format to come", "it needs mtlearn 0.1 or newer"),
    ],
)
def test_the_message_of_a_malicious_file_names_what_is_wrong(loads, name, reason):
    assert reason in loads[name]["message"]
