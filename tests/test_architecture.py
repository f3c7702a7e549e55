import ast
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mtlearn"
FILES = sorted(PACKAGE.rglob("*.py"))
FLOORS = {
    "mtlearn.exceptions": 0,
    "mtlearn._aten": 0,
    "mtlearn._arrays": 0,
    "mtlearn._atomic": 0,
    "mtlearn._interrupts": 0,
    "mtlearn._layers": 0,
    "mtlearn._named_rows": 0,
    "mtlearn._namesake": 0,
    "mtlearn._optional": 0,
    "mtlearn._params": 0,
    "mtlearn._plain_files": 0,
    "mtlearn._pausing": 0,
    "mtlearn._random": 0,
    "mtlearn._running": 0,
    "mtlearn._sklearn": 0,
    "mtlearn._torch_state": 0,
    "mtlearn._typing": 0,
    "mtlearn._validation": 0,
    "mtlearn._version": 0,
    "mtlearn.inputs": 1,
    "mtlearn.targets": 1,
    "mtlearn.datasets": 2,
    "mtlearn.heads": 2,
    "mtlearn.preprocessing": 2,
    "mtlearn.trunks": 2,
    "mtlearn.weighting": 2,
    "mtlearn._engine": 3,
    "mtlearn.estimators": 4,
    "mtlearn.deployment": 5,
    "mtlearn.ensemble": 5,
    "mtlearn.inspection": 5,
    "mtlearn.model_selection": 5,
    "mtlearn.persistence": 5,
    "mtlearn.testing": 5,
    "mtlearn": 6,
}
DEPENDENCIES = {"joblib", "numpy", "safetensors", "sklearn", "skorch", "torch", "tqdm"}
PRIVATE_NAMES = {"mtlearn._aten", "mtlearn._sklearn"}
MAX_FILE, MAX_CLASS, MAX_FUNCTION = 300, 250, 50  # docstrings do not count


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): ast.parse(path.read_text()) for path in FILES}


def unit(module):
    """The part of the house that a module belongs to: a top-level file or folder."""
    return ".".join(module.split(".")[:2])


def imports(tree):
    """All imported modules; `from package import module` counts as an import of the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            inside = [name for name in submodules if name in MODULES]
            yield from inside
            if len(inside) < len(submodules):
                yield node.module


def own_imports(module):
    return {name for name in imports(MODULES[module]) if name in MODULES} - {module}


def is_private(name):
    is_display = name.startswith("_repr_") and name.endswith("_")  # a protocol of notebooks
    return name.startswith("_") and not name.startswith("__") and not is_display


def bound_to_dependencies(tree):
    """Names that the imports of a file bind to something of a dependency."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                (alias.asname or alias.name).split(".")[0]
                for alias in node.names
                if alias.name.split(".")[0] in DEPENDENCIES
            }
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in DEPENDENCIES:
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def root_name(node):
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def private_imports(tree):
    bound = bound_to_dependencies(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            paths = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            paths = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            if is_private(node.attr) and root_name(node.value) in bound:
                yield ast.unparse(node)
            continue
        else:
            continue
        for path in paths:
            first, *rest = path.split(".")
            if first in DEPENDENCIES and any(map(is_private, rest)):
                yield path


def classes_of(module):
    return [
        value
        for value in vars(importlib.import_module(module)).values()
        if inspect.isclass(value) and value.__module__ == module
    ]


def private_names_of_bases(cls):
    """Private names of a dependency's class that a class of ours overrides or uses on `self`."""
    theirs = {
        name
        for base in cls.__mro__
        if base.__module__.split(".")[0] in DEPENDENCIES
        for name in vars(base)
        if is_private(name)
    }
    ours = {
        name
        for base in cls.__mro__[1:]
        if base.__module__.split(".")[0] == "mtlearn"
        for name in vars(base)
    }
    tree = ast.parse(inspect.getsource(cls).lstrip())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and root_name(node.value) in ("self", "super")
    }
    used |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return theirs & used - ours


def test_every_module_has_a_floor():
    assert {unit(module) for module in MODULES} <= set(FLOORS)


@pytest.mark.parametrize("module", MODULES)
def test_an_import_goes_to_a_lower_floor_or_stays_inside(module):
    own = unit(module)
    wrong = [
        imported
        for imported in own_imports(module)
        if unit(imported) != own
        and FLOORS[unit(imported)] >= FLOORS[own]
        and not FLOORS[unit(imported)] == FLOORS[own] == 0
    ]
    assert not wrong


def test_imports_make_no_cycle():
    graph = {module: own_imports(module) for module in MODULES}
    while leaves := {module for module, needed in graph.items() if not needed & set(graph)}:
        graph = {module: needed for module, needed in graph.items() if module not in leaves}
    assert not graph


@pytest.mark.parametrize("module", MODULES)
def test_imports_are_absolute(module):
    levels = [n.level for n in ast.walk(MODULES[module]) if isinstance(n, ast.ImportFrom)]
    assert not any(levels)


@pytest.mark.parametrize("module", sorted(set(MODULES) - PRIVATE_NAMES))
def test_private_names_of_dependencies_are_not_imported(module):
    assert not list(private_imports(MODULES[module]))


@pytest.mark.parametrize("module", MODULES)
def test_private_names_of_inherited_classes_are_not_used(module):
    used = {cls.__name__: private_names_of_bases(cls) for cls in classes_of(module)}
    assert not {name: names for name, names in used.items() if names}


def test_the_listed_private_names_of_scikit_learn_exist():
    module = importlib.import_module("mtlearn._sklearn")
    assert {value.__name__ for value in map(vars(module).get, module.__all__)} == {
        "HasMethods",
        "Interval",
        "StrOptions",
        "_fit_context",
        "_safe_indexing",
        "validate_parameter_constraints",
    }


def test_the_private_names_of_torch_are_few():
    assert set(private_imports(MODULES["mtlearn._aten"])) == {
        "nn.modules.module._has_any_global_hook",
        "torch._fused_adam_",
        "torch._fused_adamw_",
        "torch.optim.optimizer._global_optimizer_post_hooks",
        "torch.optim.optimizer._global_optimizer_pre_hooks",
    }


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_printed(module):
    calls = [n.func for n in ast.walk(MODULES[module]) if isinstance(n, ast.Call)]
    assert "print" not in [func.id for func in calls if isinstance(func, ast.Name)]


@pytest.mark.parametrize("module", [m for m in MODULES if FLOORS[unit(m)] == 1])
def test_the_container_needs_no_torch(module):
    reached, new = set(), {module}
    while new:
        reached |= new
        new = {name for found in new for name in own_imports(found)} - reached
    external = {name.split(".")[0] for found in reached for name in imports(MODULES[found])}
    assert "torch" not in external
    assert "skorch" not in external


def n_lines(node):
    """The lines of a file, a class or a function, without all docstrings in it."""
    lines = node.body[-1].end_lineno - node.body[0].lineno + 1
    for part in ast.walk(node):
        documented = isinstance(part, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(part):
            lines -= part.body[0].end_lineno - part.body[0].lineno + 1
    return lines


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_classes_and_functions_stay_small(path):
    tree = ast.parse(path.read_text())
    too_long = [path.name] if tree.body and n_lines(tree) > MAX_FILE else []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            limit = MAX_CLASS if isinstance(node, ast.ClassDef) else MAX_FUNCTION
            too_long += [node.name] if n_lines(node) > limit else []
    assert not too_long


def files_of_public_classes():
    parts = ("heads", "trunks", "weighting", "preprocessing")
    for package in (*parts, "estimators", "ensemble", "inspection"):
        exported = importlib.import_module(f"mtlearn.{package}")
        for path in sorted((PACKAGE / package).glob("_*.py")):
            if path.name == "__init__.py":
                continue
            names = {cls.__name__ for cls in classes_of(f"mtlearn.{package}.{path.stem}")}
            if names & set(exported.__all__):
                yield package, path.stem.removeprefix("_")


@pytest.mark.parametrize(("package", "stem"), list(files_of_public_classes()))
def test_a_file_of_public_classes_has_its_test_and_its_page(package, stem):
    assert (ROOT / "tests" / package / f"test_{stem}.py").is_file()
    assert (ROOT / "docs" / package / f"{stem}.rst").is_file()
