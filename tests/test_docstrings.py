import ast
import importlib
import inspect
import re

import pytest

PACKAGES = [
    "mtlearn",
    "mtlearn.deployment",
    "mtlearn.exceptions",
    "mtlearn.heads",
    "mtlearn.inspection",
    "mtlearn.persistence",
    "mtlearn.preprocessing",
    "mtlearn.testing",
    "mtlearn.trunks",
    "mtlearn.weighting",
]


def documented(obj):
    """Names and type fields of the Parameters section; None without such a section."""
    lines = (inspect.getdoc(obj) or "").replace("\\\n", "").splitlines()
    if "Parameters" not in lines:
        return None
    start = lines.index("Parameters") + 2
    ends = [i for i in range(start, len(lines) - 1) if re.fullmatch(r"-+", lines[i + 1])]
    section = lines[start : ends[0] if ends else len(lines)]
    fields = [line.partition(" : ") for line in section if line and not line.startswith(" ")]
    return {name.strip(): kind for names, _, kind in fields for name in names.split(",")}


def signature(function):
    parameters = inspect.signature(function).parameters
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    found = {stars.get(p.kind, "") + name: p.default for name, p in parameters.items()}
    found.pop("self", None)
    return found


def is_method(value):
    return inspect.isfunction(value) or inspect.ismethod(value)


def public_callables():
    seen = set()
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name, obj in ((name, getattr(module, name)) for name in module.__all__):
            if inspect.isfunction(obj):
                yield pytest.param([obj], obj, id=name)
            elif inspect.isclass(obj) and obj not in seen:
                seen.add(obj)
                if inspect.isfunction(vars(obj).get("__init__")):
                    yield pytest.param([obj], obj.__init__, id=name)
                for method, value in inspect.getmembers(obj, is_method):
                    ours = value.__module__.startswith("mtlearn")
                    public = not method.startswith("_") and not value.__name__.startswith("_")
                    if ours and public:
                        docs = [vars(base)[method] for base in obj.__mro__ if method in vars(base)]
                        yield pytest.param(docs, value, id=f"{name}.{method}")


@pytest.mark.parametrize(("docs", "function"), list(public_callables()))
def test_parameters_and_defaults_are_documented_as_they_are(docs, function):
    actual = signature(function)
    fields = next((found for found in map(documented, docs) if found is not None), None)
    if fields is None:  # a sentence instead of a section, for a method with a single argument
        assert len(actual) <= 1
        text = "\n".join(inspect.getdoc(doc) or "" for doc in docs)
        assert all(re.search(rf"\b{name.strip('*')}\b", text) for name in actual)
        return
    assert list(fields) == list(actual)
    for name, kind in fields.items():
        default = re.search(r"default=(.+)$", kind)
        written = ast.literal_eval(default[1]) if default else inspect.Parameter.empty
        assert written == actual[name]
        assert type(written) is type(actual[name])
