import pytest

from mtlearn._namesake import refuse_namesake


def install(folder, name):
    info = folder / f"{name.replace('-', '_')}-9.9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9.9\n")


def test_the_unrelated_distribution_is_refused_with_what_to_uninstall(tmp_path, monkeypatch):
    install(tmp_path, "mtlearn")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"'mtlearn' 9\.9\.9 .*`pip uninstall mtlearn`"):
        refuse_namesake()


@pytest.mark.parametrize("name", ["mtlearning", "scikit-mtlearn"])
def test_other_distributions_are_welcome(tmp_path, monkeypatch, name):
    install(tmp_path, name)
    monkeypatch.syspath_prepend(tmp_path)
    refuse_namesake()
