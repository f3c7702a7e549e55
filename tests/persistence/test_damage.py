"""Damaged files: each is an error of one class, and no bit of them changes a prediction."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from mtlearn import MultiOutputNet
from mtlearn.exceptions import ModelFileError
from mtlearn.persistence import load, save
from mtlearn.trunks import MLP

X = np.random.default_rng(0).normal(size=(40, 5))
Y = {"price": 10 + X[:, 0], "kind": np.where(X[:, 1] > 0, "flat", "house")}


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The content of a good file."""
    path = tmp_path_factory.mktemp("good") / "net"
    save(MultiOutputNet(MLP((8,)), max_epochs=2, random_state=0).fit(X, Y), path)
    return path.read_bytes()


def is_refused(path, data):
    """Whether a file is refused; any other error is one of the test."""
    path.write_bytes(data)
    try:
        load(path)
    except ModelFileError:
        return True
    return False


def with_bit_flipped(data, bit):
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def loaded_with_a_bit_flipped(content, path, bits):
    return [int(b) for b in bits if not is_refused(path, with_bit_flipped(content, int(b)))]


def test_a_flipped_bit_is_noticed(content, tmp_path):
    n_bits = 8 * len(content)
    bits = [*range(0, 8 * 110, 7), *np.linspace(880, n_bits - 1, 150)]
    assert loaded_with_a_bit_flipped(content, tmp_path / "net", bits) == []


def test_a_file_cut_off_or_with_more_behind_it_is_refused(content, tmp_path):
    sizes = [0, 1, 7, 8, 30, 35, 98, 99, 200, len(content) // 2, len(content) - 1]
    kept = [n for n in sizes if not is_refused(tmp_path / "net", content[:n])]
    assert kept == []
    assert is_refused(tmp_path / "net", content + b"\0")
    assert is_refused(tmp_path / "net", content + content)


@pytest.mark.slow
def test_5000_flipped_bits_are_all_noticed(content, tmp_path):
    bits = np.random.default_rng(0).choice(8 * len(content), 5000, replace=False)
    assert loaded_with_a_bit_flipped(content, tmp_path / "net", bits) == []


@pytest.mark.slow
def test_500_truncations_are_all_noticed(content, tmp_path):
    sizes = np.random.default_rng(1).choice(len(content), 500, replace=False)
    kept = [int(n) for n in sizes if not is_refused(tmp_path / "net", content[: int(n)])]
    assert kept == []


@pytest.mark.slow
def test_500_random_files_are_all_refused(content, tmp_path):
    rng = np.random.default_rng(2)
    for i in range(500):
        data = rng.bytes(int(rng.integers(1, 20_000)))
        begin = content[: int(rng.integers(0, 200))] if i % 2 else b""
        assert is_refused(tmp_path / "net", begin + data)


def test_a_file_larger_than_allowed_is_not_read(content, tmp_path):
    path = tmp_path / "net"
    path.write_bytes(content)
    assert load(path, max_bytes=len(content)).n_features_in_ == 5
    with pytest.raises(ModelFileError, match="more than `max_bytes`"):
        load(path, max_bytes=len(content) - 1)


def test_a_sparse_file_of_terabytes_is_not_read(tmp_path):
    path = tmp_path / "net"
    with path.open("wb") as file:
        file.truncate(2**41)
    with pytest.raises(ModelFileError, match="more than `max_bytes`"):
        load(path)


def is_refused_in_time(path):
    found = []

    def attempt():
        with pytest.raises(ModelFileError, match="not a regular file"):
            load(path)
        found.append("refused")

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(timeout=20)
    return bool(found)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert is_refused_in_time(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_that_takes_the_place_of_a_file_is_refused(content, tmp_path, monkeypatch):
    path, pipe, looked = tmp_path / "net", tmp_path / "pipe", Path.stat
    path.write_bytes(content)
    os.mkfifo(pipe)

    def look_and_replace(self, **kwargs):
        found = looked(self, **kwargs)
        if self == path and pipe.exists():
            pipe.replace(path)
        return found

    monkeypatch.setattr(Path, "stat", look_and_replace)
    assert is_refused_in_time(path)


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such file"):
        load(tmp_path / "net")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="not a regular file"):
        load(tmp_path)


def test_the_message_names_the_file(tmp_path):
    path = tmp_path / "some name"
    path.write_bytes(b"nothing of ours")
    with pytest.raises(ModelFileError, match=r"some name: it is no file of mtlearn\.persistence"):
        load(path)
