"""Sphinx's configuration. ``make docs`` builds; a warning is an error."""

import sys
from pathlib import Path

import mtlearn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from api_reference import API, PAGES  # noqa: E402

project = "mtlearn"
author = "The mtlearn developers"
project_copyright = author
release = mtlearn.__version__
version = release

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "benchmarks"]
default_role = "literal"
nitpicky = True
# Bases and annotations of other libraries have no page here, and no other inventory is fetched.
nitpick_ignore_regex = [("py:.*", r"(?!mtlearn\.).*")]

autodoc_default_options = {
    # scikit-learn adds these to every class; their text refers to pages of its own manual.
    "exclude-members": (
        "set_fit_request, set_partial_fit_request, set_score_request, set_predict_request, "
        "set_predict_proba_request, set_split_request"
    ),
}
autodoc_typehints = "none"
autosummary_generate = False
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "mtlearn"
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": False, "show_prev_next": False}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "backreferences_dir": None,
    "download_all_examples": False,
    "show_memory": False,
}


def write_api_page() -> None:
    """Write the page of the index from the data."""
    lines = ["API reference", "=============", ""]
    for title, section in API.items():
        lines += [title, "-" * len(title), ""]
        lines += [f".. currentmodule:: {section['module']}", "", ".. autosummary::", ""]
        lines += [f"   {name}" for name in section["names"]]
        lines += ["", ".. toctree::", "   :hidden:", ""]
        lines += [f"   /{page}" for page in PAGES[title]]
        lines += [""]
    path = HERE / "generated" / "api.rst"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")


write_api_page()
