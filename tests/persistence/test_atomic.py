"""Whatever goes wrong while a file is written, the old one stays and nothing else is left."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mtlearn import MultiOutputNet
from mtlearn.persistence import load, save
from mtlearn.trunks import MLP

X = np.random.default_rng(0).normal(size=(40, 3))


@pytest.fixture(scope="module")
def net():
    return MultiOutputNet(MLP((8,)), max_epochs=2, random_state=0).fit(X, {"y": X[:, 0]})


def failing(number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("step", ["os.open", "os.fdopen", "os.fsync", "pathlib.Path.replace"])
def test_a_step_that_fails_is_an_error_and_the_old_file_stays(
    net, step, number, tmp_path, monkeypatch
):
    path = tmp_path / "net"
    path.write_bytes(b"the old file")
    monkeypatch.setattr(step, failing(number))
    with pytest.raises(OSError, match=os.strerror(number)):
        save(net, path)
    monkeypatch.undo()
    assert path.read_bytes() == b"the old file"
    assert [one.name for one in tmp_path.iterdir()] == ["net"]


def test_a_folder_that_cannot_be_flushed_is_an_error(net, tmp_path, monkeypatch):
    flushed = []

    def fsync(descriptor):
        flushed.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        if flushed[-1]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=rf"{os.strerror(errno.EIO)}; the new file is there"):
        save(net, tmp_path / "net")
    assert flushed == [False, True]
    assert load(tmp_path / "net").predict(X) == net.predict(X)


def test_an_interrupt_leaves_nothing_behind(net, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt("by hand")

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt, match="by hand"):
        save(net, tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_error(net, tmp_path):
    with pytest.raises(FileNotFoundError, match="No such file"):
        save(net, tmp_path / "missing" / "net")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_not_replaced(net, kind, tmp_path):
    path = tmp_path / "net"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        save(net, path)
    assert path.is_dir() == (kind == "folder")


def test_a_link_stays_and_what_it_leads_to_is_replaced(net, tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"the old file")
    link.symlink_to(target)
    save(net, link)
    assert link.is_symlink()
    assert load(target).predict(X) == net.predict(X)


def test_a_new_file_has_the_rights_of_the_old_one(net, tmp_path):
    path = tmp_path / "net"
    path.write_bytes(b"")
    path.chmod(0o640)
    save(net, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(sys.platform == "win32", reason="needs the rights of POSIX")
def test_what_only_its_owner_may_read_is_never_readable_by_others(net, tmp_path, monkeypatch):
    path, rights = tmp_path / "net", []
    path.write_bytes(b"")
    path.chmod(0o600)
    opened, replaced = os.open, Path.replace

    def open_and_look(name, *args, **kwargs):
        descriptor = opened(name, *args, **kwargs)
        if str(name).endswith(".tmp"):
            rights.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    def look_and_replace(self, target):
        rights.append(stat.S_IMODE(self.stat().st_mode))
        return replaced(self, target)

    monkeypatch.setattr(os, "open", open_and_look)
    monkeypatch.setattr(Path, "replace", look_and_replace)
    save(net, path)
    assert rights == [0o600, 0o600]


@pytest.mark.parametrize("name", ["a" * 255, "\U0001f600" * 60], ids=["letters", "signs"])
def test_a_name_may_be_as_long_as_the_system_allows(net, name, tmp_path):
    save(net, tmp_path / name)
    assert load(tmp_path / name).predict(X) == net.predict(X)
    assert [one.name for one in tmp_path.iterdir()] == [name]


FULL = """
import resource, signal, sys
import numpy as np
from mtlearn import MultiOutputNet
from mtlearn.persistence import save
X = np.random.default_rng(0).normal(size=(40, 3))
net = MultiOutputNet(max_epochs=2, random_state=0).fit(X, {"y": X[:, 0]})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    save(net, sys.argv[1])
except OSError as error:
    print(error.errno)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of processes")
def test_a_file_that_cannot_grow_is_an_error_and_the_old_one_stays(tmp_path):
    path = tmp_path / "net"
    path.write_bytes(b"the old file")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert int(done.stdout) == errno.EFBIG
    assert path.read_bytes() == b"the old file"
    assert [one.name for one in tmp_path.iterdir()] == ["net"]


WITHOUT_END = """
import sys
import numpy as np
from mtlearn import MultiOutputNet
from mtlearn.persistence import save
X = np.random.default_rng(0).normal(size=(40, 3))
net = MultiOutputNet(max_epochs=2, random_state=0).fit(X, {"y": X[:, 0]})
print("ready", flush=True)
while True:
    save(net, sys.argv[1])
"""


@pytest.mark.slow
def test_a_process_killed_while_it_saves_leaves_a_whole_file(tmp_path):
    path = Path(tmp_path, "net")
    rng = np.random.default_rng(0)
    for _ in range(25):
        with subprocess.Popen(
            [sys.executable, "-c", WITHOUT_END, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.02, 0.2))
            process.send_signal(signal.SIGKILL)
        assert load(path).n_features_in_ == 3
