"""What the tests with neighbours share: the examples of the guide's page, run as they stand."""

import re
import textwrap
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "neighbours.rst"
HEADING = re.compile(r"^(\S.*)\n[=-]{3,}\n", re.MULTILINE)
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?: +.*\n|\n)+)", re.MULTILINE)


def examples():
    """Return the code of each section, by its heading."""
    _, *parts = HEADING.split(PAGE.read_text())
    sections = zip(parts[::2], parts[1::2], strict=True)
    return {title: "".join(map(textwrap.dedent, BLOCK.findall(text))) for title, text in sections}


@pytest.fixture
def run_example(tmp_path, monkeypatch):
    """Runs the code of a section after that of the page's beginning; returns all names."""

    def run(title):
        sections = examples()
        monkeypatch.chdir(tmp_path)
        names = {"__name__": "__main__"}
        for heading in (next(iter(sections)), title):
            assert sections[heading], f"no example under {heading!r}"
            exec(compile(sections[heading], f"{PAGE.name}, {heading}", "exec"), names)
        return names

    return run
