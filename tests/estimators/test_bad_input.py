"""A table of malformed calls: each is refused in words that name what is wrong."""

import pickle
import signal
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from torch import nn

from mtlearn import MultiOutputNet, MultiOutputNetClassifier, MultiOutputNetRegressor, Targets
from mtlearn.heads import Classification, MultiLabel, Regression
from mtlearn.trunks import MLP

N = 12
SECONDS = 30
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
PRICE = 10 + X[:, 0]
KIND = np.where(X[:, 1] > 0, "flat", "house")
TAGS = (X[:, :2] > 0).astype(int)
Y = {"price": PRICE, "kind": KIND, "tags": TAGS}
AUX = Targets({"price2": PRICE, "kind2": KIND})

NET, REG, CLF = MultiOutputNet, MultiOutputNetRegressor, MultiOutputNetClassifier
LABELS = {NET: Y, REG: PRICE, CLF: KIND}
SHORT = {NET: "net", REG: "regressor", CLF: "classifier"}
LEARN = ("fit", "partial_fit")
USE = ("predict", "predict_proba", "score", "scores", "embed")
METHODS = {
    NET: ("fit", "partial_fit", "predict", "predict_proba", "score", "scores", "embed"),
    REG: ("fit", "partial_fit", "predict", "score", "embed"),
    CLF: ("fit", "partial_fit", "predict", "predict_proba", "score", "embed"),
}
LABELLED = ("fit", "partial_fit", "score", "scores")


def make(cls, **params):
    return cls(**{"trunk": MLP((4,)), "max_epochs": 1, "random_state": 0} | params)


@cache
def pickled(cls):
    aux = {} if cls is NET else {"aux": AUX}
    return pickle.dumps(make(cls).fit(X, LABELS[cls], **aux))


def fitted(cls):
    return pickle.loads(pickled(cls))


CASES = {}


def add(name, cls, method, message, *args, params=None, where="both", **kwargs):
    """Add a call to the table; `where` says whether for a fitted estimator, a new one or both."""
    case = (cls, method, params or {}, args, kwargs, message, where)
    key = f"{SHORT[cls]}-{method}-{name}"
    assert key not in CASES, key
    CASES[key] = case


def spoilt(values, value, dtype=None):
    values = np.array(values, dtype=dtype)
    values[1] = value
    return values


class NoSplit:
    def split(self, X, y=None, groups=None):
        return iter(())


# Parameters: all that every estimator has, and for the first fit only those of the network.

BAD_PARAMS = {
    "trunk text": ({"trunk": "mlp"}, "'trunk' parameter of MultiOutputNet"),
    "trunk number": ({"trunk": 3}, "'trunk' parameter of MultiOutputNet"),
    "trunk class": ({"trunk": MLP}, r"`trunk` must be an instance.*write MLP\(\)"),
    "trunk size zero": ({"trunk": MLP((0,))}, "`hidden_layer_sizes` of MLP.*positive"),
    "trunk size float": ({"trunk": MLP((2.5,))}, "`hidden_layer_sizes` of MLP.*positive"),
    "trunk size text": ({"trunk": MLP("ab")}, "'hidden_layer_sizes' parameter of MLP"),
    "trunk size number": ({"trunk": MLP(8)}, "'hidden_layer_sizes' parameter of MLP"),
    "trunk dropout": ({"trunk": MLP(dropout=1.0)}, "'dropout' parameter of MLP"),
    "trunk activation": ({"trunk": MLP(activation="rel")}, "'activation' parameter of MLP"),
    "trunk normalization": ({"trunk": MLP(normalization="b")}, "'normalization' parameter of MLP"),
    "trunk width": ({"trunk": nn.Linear(9, 2)}, "(?i)trunk"),
    "trunk makes nothing": ({"trunk": lambda _: None}, "`trunk` must make"),
    "trunk arguments": ({"trunk": lambda a, b: nn.Linear(a, b)}, "`trunk` must make.*partial"),
    "heads list": ({"heads": [Regression()]}, "'heads' parameter of MultiOutputNet"),
    "heads unknown": ({"heads": {"nowhere": Regression()}}, "`heads` names the unknown.*nowhere"),
    "heads name": ({"heads": {3: Regression()}}, "output names must be strings. Got 3"),
    "loss_weights list": ({"loss_weights": [1.0]}, "'loss_weights' parameter of MultiOutputNet"),
    "loss_weights unknown": ({"loss_weights": {"prise": 1}}, "`loss_weights` names.*'prise'"),
    "normalize_losses": ({"normalize_losses": "yes"}, "'normalize_losses' parameter"),
    "missing_targets": ({"missing_targets": "drop"}, "'missing_targets' parameter"),
    "optimizer name": ({"optimizer": "adm"}, "`optimizer` names.*'adm'.*did you mean 'adam'"),
    "optimizer number": ({"optimizer": 3}, "'optimizer' parameter"),
    "optimizer lbfgs": ({"optimizer": "lbfgs"}, "`optimizer` must make one step.*use one of"),
    "optimizer LBFGS": ({"optimizer": torch.optim.LBFGS}, "`optimizer` must make one step"),
    "optimizer of nothing": ({"optimizer": lambda *_, **__: None}, "`optimizer`"),
    "optimizer_params": ({"optimizer_params": {"decay": 1}}, "`optimizer_params` names.*'decay'"),
    "optimizer_params lr": ({"optimizer_params": {"lr": 1}}, "set `learning_rate`"),
    "optimizer_params value": ({"optimizer_params": {"betas": 3}}, "`?optimizer"),
    "optimizer_params negative": ({"optimizer_params": {"weight_decay": -1}}, "weight_decay"),
    "optimizer_params list": ({"optimizer_params": [1]}, "'optimizer_params' parameter"),
    "param_groups unknown": ({"param_groups": {"trnk": {}}}, "`param_groups` names.*'trunk'"),
    "param_groups number": ({"param_groups": {"trunk": 1e-4}}, "`param_groups`.*must be a dict"),
    "param_groups lr": ({"param_groups": {"trunk": {"lr": -1}}}, "'lr' of 'trunk'.*at least 0"),
    "param_groups nan": ({"param_groups": {"trunk": {"lr": np.nan}}}, "'lr' of 'trunk'"),
    "param_groups text": ({"param_groups": {"trunk": {"lr": "a"}}}, "'lr' of 'trunk'"),
    "learning_rate zero": ({"learning_rate": 0}, "'learning_rate' parameter"),
    "learning_rate text": ({"learning_rate": "adaptive"}, "'learning_rate' parameter"),
    "learning_rate nan": ({"learning_rate": np.nan}, "'?learning_rate"),
    "learning_rate inf": ({"learning_rate": np.inf}, "'?learning_rate"),
    "schedule": ({"learning_rate_schedule": "cos"}, "'learning_rate_schedule' parameter"),
    "alpha negative": ({"alpha": -1e-3}, "'alpha' parameter"),
    "alpha nan": ({"alpha": np.nan}, "'?alpha"),
    "alpha inf": ({"alpha": np.inf}, "'?alpha"),
    "alpha list": ({"alpha": [0.1]}, "'alpha' parameter"),
    "batch_size zero": ({"batch_size": 0}, "'batch_size' parameter"),
    "batch_size float": ({"batch_size": 2.5}, "'batch_size' parameter"),
    "max_epochs zero": ({"max_epochs": 0}, "'max_epochs' parameter"),
    "max_epochs text": ({"max_epochs": "many"}, "'max_epochs' parameter"),
    "shuffle": ({"shuffle": "no"}, "'shuffle' parameter"),
    "early_stopping": ({"early_stopping": "yes"}, "'early_stopping' parameter"),
    "validation_fraction": ({"validation_fraction": 1.0}, "'validation_fraction' parameter"),
    "n_iter_no_change": ({"n_iter_no_change": 0}, "'n_iter_no_change' parameter"),
    "stopping tol": ({"early_stopping_tol": -0.1}, "'early_stopping_tol' parameter"),
    "callbacks number": ({"callbacks": [3]}, "`callbacks` must hold callbacks of skorch"),
    "callbacks text": ({"callbacks": "progress"}, "'callbacks' parameter"),
    "device": ({"device": "cuba"}, "`device` must be one that torch can use here.*'cpu'"),
    "device number": ({"device": 0}, "'device' parameter"),
    "dtype": ({"dtype": "float16"}, "'dtype' parameter"),
    "n_threads": ({"n_threads": 0}, "'n_threads' parameter"),
    "warm_start": ({"warm_start": "yes"}, "'warm_start' parameter"),
    "verbose": ({"verbose": "loud"}, "'verbose' parameter"),
    "random_state": ({"random_state": "seed"}, "'random_state' parameter"),
    "random_state negative": ({"random_state": -1}, "'random_state' parameter"),
}
for cls in (NET, REG, CLF):
    for method in LEARN:
        for name, (params, message) in BAD_PARAMS.items():
            # a fitted stream refuses another network before it looks at the new one
            where = "new" if method == "partial_fit" else "both"
            add(name, cls, method, message, X, LABELS[cls], params=params, where=where)

# Parameters of the parts.

BAD_HEADS = {
    "text": ({"price": "mse"}, r"'price': `heads` must hold heads. Got 'mse'; write"),
    "class": ({"price": Regression}, r"'price'.*write Regression\(\)"),
    "none of the loss": ({"price": Regression(loss="mse")}, "'price'.*'loss' parameter"),
    "class of a loss": ({"price": Regression(loss=nn.MSELoss)}, r"'price'.*write MSELoss\(\)"),
    "delta": ({"price": Regression(delta=0)}, "'price'.*'delta' parameter"),
    "transformer": ({"price": Regression(transformer=3)}, "'price'.*'transformer' parameter"),
    "layers": ({"price": Regression(hidden_layer_sizes=(0,))}, "'price'.*`hidden_layer_sizes`"),
    "at": ({"price": Regression(at="lstm")}, "'price'.*(`at`|lstm)"),
    "at number": ({"price": Regression(at=1)}, "'price'.*'at' parameter"),
    "target": ({"price": Regression(target="prise")}, "`target`.*'price'.*'prise'"),
    "words as numbers": ({"kind": Regression()}, "'kind': Regression needs numbers"),
    "matrix of classes": ({"tags": Classification()}, "'tags': Classification needs one label"),
    "numbers as labels": ({"price": MultiLabel()}, "'price': MultiLabel needs"),
    "smoothing": ({"kind": Classification(label_smoothing=1)}, "'kind'.*'label_smoothing'"),
    "class_weight text": ({"kind": Classification(class_weight="b")}, "'kind'.*'class_weight'"),
    "class_weight unknown": ({"kind": Classification(class_weight={"x": 1})}, "'kind'.*'x'"),
    "class_weight negative": (
        {"kind": Classification(class_weight={"flat": -1})},
        "'kind'.*`class_weight",
    ),
    "class_weight zero": (
        {"kind": Classification(class_weight={"flat": 0, "house": 0})},
        "'kind': `class_weight` leaves",
    ),
    "classes": ({"kind": Classification(classes=["flat"])}, "'kind'.*(classes|label)"),
    "classes twice": ({"kind": Classification(classes=["flat", "flat", "house"])}, "'kind'.*class"),
    "classes empty": ({"kind": Classification(classes=[])}, "'kind'.*class"),
    "classes of others": ({"kind": Classification(classes=[1, 2])}, "'kind'.*(class|label)"),
    "labels weight": ({"tags": MultiLabel(pos_weight=[1, 2, 3])}, "'tags'.*`?pos_weight"),
    "labels weight below 0": ({"tags": MultiLabel(pos_weight=-1.0)}, "'tags'.*`?pos_weight"),
}
for name, (heads, message) in BAD_HEADS.items():
    for method in LEARN:
        add(f"head {name}", NET, method, message, X, Y, params={"heads": heads}, where="new")

for value, name in [(-1, "negative"), (np.nan, "nan"), (np.inf, "inf"), ("1", "text")]:
    for method in LEARN:
        params = {"loss_weights": {"price": value}}
        message = r"`loss_weights\['price'\]` must be a finite number"
        add(f"loss weight {name}", NET, method, message, X, Y, params=params)
zero = {"loss_weights": dict.fromkeys(Y, 0)}
add("loss weights zero", NET, "fit", "`loss_weights` must leave an output", X, Y, params=zero)
add(
    "main_output",
    NET,
    "fit",
    "`main_output` names.*did you mean 'price'",
    X,
    Y,
    params={"main_output": "prise"},
)
add(
    "main_output",
    NET,
    "score",
    "`main_output` names.*did you mean 'price'",
    X,
    Y,
    params={"main_output": "prise"},
    where="fitted",
)
add("main_output number", NET, "fit", "'main_output' parameter", X, Y, params={"main_output": 3})
add(
    "head of classes",
    REG,
    "fit",
    "head of 'y' must predict numbers",
    X,
    PRICE,
    params={"heads": {"y": Classification()}},
)
add(
    "head of numbers",
    CLF,
    "fit",
    "head of 'y' must predict classes",
    X,
    KIND,
    params={"heads": {"y": Regression()}},
)
add(
    "class_weight and head",
    CLF,
    "fit",
    "`class_weight` must be None where `heads`",
    X,
    KIND,
    params={"heads": {"y": Classification()}, "class_weight": "balanced"},
)
add(
    "class_weight of labels",
    CLF,
    "fit",
    "`class_weight` must be None for an indicator",
    X,
    TAGS,
    params={"class_weight": "balanced"},
)
add(
    "class_weight text",
    CLF,
    "fit",
    "'class_weight' parameter",
    X,
    KIND,
    params={"class_weight": "even"},
)
add("class_weight unknown", CLF, "fit", "'villa'", X, KIND, params={"class_weight": {"villa": 1}})
add(
    "class_weight nan",
    CLF,
    "fit",
    "class_weight",
    X,
    KIND,
    params={"class_weight": {"flat": np.nan}},
)
for cls in (NET, REG, CLF):
    for param, value in [("early_stopping", True), ("learning_rate_schedule", "cosine")]:
        add(
            f"{param} of a stream",
            cls,
            "partial_fit",
            f"`{param}` needs an end.*use fit",
            X,
            LABELS[cls],
            params={param: value},
        )

# Rows.

BAD_X = {
    "one axis": (X[:, 0], "Expected 2D array, got 1D array"),
    "three axes": (X[..., None], "dim 3|Expected 2D array"),
    "number": (3.0, "Expected 2D array, got scalar|number of samples"),
    "none": (None, "X|2D array"),
    "nan": (spoilt(X, np.nan), "Input X contains NaN"),
    "inf": (spoilt(X, np.inf), "Input X contains infinity"),
    "text": (X.astype(str).astype(object) + "x", "could not convert string to float"),
    "word": ("abc", "Expected 2D array|could not convert|dtype"),
    "complex": (X + 1j, "Complex data not supported"),
    "sparse": (sparse.csr_matrix(X), "[Ss]parse.*(dense|toarray)"),
    "no rows": (X[:0], "0 sample"),
    "no columns": (X[:, :0], "0 feature"),
    "ragged": ([[1.0, 2.0, 3.0], [1.0]] * 6, "inhomogeneous|sequence"),
    "none in it": (spoilt(X, None, object), "NaN|NoneType|could not convert"),
    "dict": ({"a": X}, "X|dict|2D array"),
    "lazy": (pl.LazyFrame(X), r"collect\(\)|array element with a sequence"),
    "objects": (np.array([[object()] * 3] * N), "float"),
    "frame with words": (
        pd.DataFrame({"a": ["x"] * N, "b": 1.0, "c": 1.0}),
        "could not convert string to float",
    ),
}
for cls in (NET, REG, CLF):
    for method in METHODS[cls]:
        labels = (LABELS[cls],) if method in LABELLED else ()
        for name, (rows, message) in BAD_X.items():
            where = "both" if method in LEARN else "fitted"
            add(f"X {name}", cls, method, message, rows, *labels, where=where)
        if method != "fit":
            add(
                "X other columns",
                cls,
                method,
                "X has 2 features, but .* is expecting 3",
                X[:, :2],
                *labels,
                where="fitted",
            )
        if method in LABELLED:
            where = "both" if method in LEARN else "fitted"
            add(
                "X other rows",
                cls,
                method,
                "`y` must have as many rows as X, 11. Got 12",
                X[:11],
                *labels,
                where=where,
            )
        if method in USE:
            add("not fitted", cls, method, "is not fitted yet. Call 'fit'", X, *labels, where="new")
add("not fitted", NET, "output", "is not fitted yet. Call 'fit'", "price", where="new")
add("not fitted", NET, "drop_outputs", "is not fitted yet. Call 'fit'", ["price"], where="new")

# Targets.

BAD_Y = {
    "none": (None, "requires y to be passed"),
    "empty": ({}, "`y` must hold at least one target"),
    "empty Targets": (Targets(), "`y` must hold at least one target"),
    "number": ({**Y, "price": 3.0}, r"'price' has the shape \(\)"),
    "word": ({**Y, "price": "abc"}, r"'price' has the shape \(\)"),
    "nothing": ({**Y, "price": None}, r"'price' has the shape \(\)"),
    "three axes": ({**Y, "price": np.zeros((N, 2, 2))}, r"'price' has the shape \(12, 2, 2\)"),
    "no columns": ({**Y, "price": np.zeros((N, 0))}, "'price'.*(column|shape)"),
    "ragged": ({**Y, "price": [[1], [1, 2]] * 6}, "'price' is no regular array"),
    "sparse": ({**Y, "price": sparse.csr_matrix(TAGS)}, r"'price' is sparse; pass .*toarray\(\)"),
    "few rows": ({**Y, "price": PRICE[:5]}, "same number of rows.*'price': 5"),
    "many rows": ({k: np.concatenate([v, v]) for k, v in Y.items()}, "as many rows as X, 12"),
    "nan": ({**Y, "price": spoilt(PRICE, np.nan)}, "'price'.*in 1 of 12.*missing_targets="),
    "missing class": ({**Y, "kind": spoilt(KIND, None, object)}, "'kind'.*in 1 of 12"),
    "inf": ({**Y, "price": spoilt(PRICE, np.inf)}, "'price': .*infinity in 1 labels"),
    "words": ({**Y, "price": KIND}, "'price': Regression needs numbers"),
    "tags": ({**Y, "tags": TAGS + 1}, "'tags'"),
    "generator": ((value for value in PRICE), "(?i)y|target"),
    "set": ({1.0, 2.0}, "(?i)y|target"),
    "nested dict": ({**Y, "price": {"a": PRICE}}, "'price'"),
    "lazy": (pl.LazyFrame({"price": PRICE}), r"collect\(\)"),
    "dates": ({**Y, "price": np.arange(N).astype("M8[D]")}, "'price'.*numbers"),
    "records": ({**Y, "price": np.zeros(N, [("a", float)])}, "'price'"),
    "complex": ({**Y, "price": PRICE + 1j}, "'price'"),
    "name val": ({**Y, "val": PRICE}, "be 'val'.*rename|unknown"),
    "name empty": ({**Y, "": PRICE}, "must not be empty"),
    "name dunder": ({**Y, "a__b": PRICE}, "contain '__'"),
    "name number": ({**Y, 3: PRICE}, "must be strings. Got 3"),
    "names of history": ({**Y, "val_price": PRICE}, "'price' and 'val_price' would share"),
}
HEADS = {"price": Regression(), "kind": Classification(), "tags": MultiLabel()}
for method in LABELLED[:2]:
    for name, (labels, message) in BAD_Y.items():
        add(f"y {name}", NET, method, message, X, labels, params={"heads": HEADS}, where="new")
for method in LABELLED[1:]:
    for name, (labels, message) in BAD_Y.items():
        add(f"y {name} later", NET, method, message, X, labels, where="fitted")
    for left_out in Y:
        rest = {name: labels for name, labels in Y.items() if name != left_out}
        add(
            f"y without {left_out}", NET, method, f"(?s)target.*{left_out}", X, rest, where="fitted"
        )
    new = {**Y, "kind": spoilt(KIND, "villa", object)}
    add("y new class", NET, method, "'kind'.*villa", X, new, where="fitted")
    add(
        "y unknown", NET, method, "unknown target 'prise'", X, {**Y, "prise": PRICE}, where="fitted"
    )
    wide = {**Y, "price": np.column_stack([PRICE, PRICE])}
    add("y wider", NET, method, "'price'.*(shape|columns)", X, wide, where="fitted")

BAD_ARRAYS = {
    "none": (None, "requires y to be passed"),
    "by name": ({"y": PRICE}, "`y` must be one array.*aux="),
    "number": (3.0, "(?i)y|scalar|singleton"),
    "three axes": (np.zeros((N, 2, 2)), "dim 3|dimension"),
    "few rows": (slice(5), "`y` must have as many rows as X, 12. Got 5"),
    "no columns": (np.zeros((N, 0)), "(?i)0 feature|column|shape"),
    "sparse": (sparse.csr_matrix(TAGS), "[Ss]parse.*(dense|toarray)"),
    "ragged": ([[1], [1, 2]] * 6, "inhomogeneous|sequence"),
    "complex": (PRICE + 1j, "Complex data not supported|complex"),
}
for cls in (REG, CLF):
    for method in ("fit", "partial_fit", "score"):
        where = "fitted" if method == "score" else "both"
        for name, (labels, message) in BAD_ARRAYS.items():
            labels = LABELS[cls][labels] if isinstance(labels, slice) else labels
            add(f"y {name}", cls, method, message, X, labels, where=where)
        wide = np.column_stack([LABELS[cls]] * 2)
        if method == "score":
            add("y wider", cls, method, "'y'|`y`", X, wide, where="fitted")
for method in ("fit", "partial_fit", "score"):
    where = "fitted" if method == "score" else "both"
    add("y nan", REG, method, "Input y contains NaN", X, spoilt(PRICE, np.nan), where=where)
    add("y inf", REG, method, "Input y contains infinity", X, spoilt(PRICE, np.inf), where=where)
    add("y words", REG, method, "could not convert string to float", X, KIND, where=where)
    add(
        "y missing",
        CLF,
        method,
        "'y'.*in 1 of 12.*missing_targets=",
        X,
        spoilt(KIND, None, object),
        where="new" if method == "partial_fit" else where,
    )
    add("y numbers", CLF, method, "Unknown label type: continuous", X, PRICE, where=where)
add("y mixed", CLF, "fit", "(?i)y|label", X, np.array([1, "a"] * 6, object))
add("y mixed", NET, "fit", "'kind'", X, {"kind": [1, "a"] * 6}, where="new")

# Auxiliary targets.

BAD_AUX = {
    "array": (PRICE, "`aux` must hold targets by name"),
    "own name": ({"y": PRICE}, "`aux`.*'y'"),
    "few rows": ({"a": PRICE[:5]}, "`aux`.*rows|rows"),
    "empty": ({}, "hold at least one target"),
    "nan": ({"a": spoilt(PRICE, np.nan)}, "'a'.*in 1 of 12"),
    "number": ({"a": 3.0}, r"'a' has the shape \(\)"),
    "name": ({"a__b": PRICE}, "contain '__'"),
    "matrix": ({"a": TAGS + 5}, "'a': the head cannot be told"),
    "lazy": (pl.LazyFrame({"a": PRICE}), r"collect\(\)"),
}
for cls in (REG, CLF):
    for method in LEARN:
        for name, (aux, message) in BAD_AUX.items():
            add(f"aux {name}", cls, method, message, X, LABELS[cls], aux=aux, where="new")
    add("aux left out", cls, "partial_fit", "(kind2|price2)", X, LABELS[cls], where="fitted")

# Weights of rows.

BAD_WEIGHTS = {
    "negative": (spoilt(np.ones(N), -1), "`sample_weight` must not be negative"),
    "nan": (spoilt(np.ones(N), np.nan), "`sample_weight` must be finite"),
    "inf": (spoilt(np.ones(N), np.inf), "`sample_weight` must be finite"),
    "none in it": (spoilt(np.ones(N), None, object), "`sample_weight`"),
    "zero": (np.zeros(N), "`sample_weight` must not be zero for all rows"),
    "few": (np.ones(5), r"`sample_weight` must have the shape \(12,\)"),
    "matrix": (np.ones((N, 2)), r"`sample_weight` must have the shape \(12,\)"),
    "number": (2.0, r"`sample_weight` must have the shape \(12,\)"),
    "words": (KIND, "`?sample_weight"),
    "unknown": ({"prise": np.ones(N)}, "`sample_weight` names the unknown output 'prise'"),
    "complex": (np.ones(N) + 1j, "`?sample_weight"),
    "ragged": ([[1.0], [1.0, 2.0]] * 6, "`?sample_weight"),
    "sparse": (sparse.csr_matrix(np.ones((N, 1))), "`?sample_weight"),
    "lazy": (pl.LazyFrame({"price": PRICE}), r"collect\(\)"),
}
for cls in (NET, REG, CLF):
    for method in LABELLED:
        if method not in METHODS[cls]:
            continue
        for name, (weight, message) in BAD_WEIGHTS.items():
            if method == "partial_fit" and name == "zero":
                continue  # a later piece of a stream may weigh nothing
            where = "new" if method == "partial_fit" else "both"
            where = "fitted" if "score" in method else where
            add(f"weight {name}", cls, method, message, X, LABELS[cls], weight, where=where)

# Validation.

VAL = {NET: Y, REG: PRICE, CLF: KIND}
for cls in (NET, REG, CLF):

    def refuse(name, message, cls=cls, params=None, **kwargs):
        add(name, cls, "fit", message, X, LABELS[cls], params=params, **kwargs)

    good = VAL[cls]
    half = {k: v[:5] for k, v in Y.items()} if cls is NET else good[:5]
    refuse("y_val alone", "`y_val` and `sample_weight_val` need `X_val`", y_val=good)
    refuse("weight_val alone", "need `X_val`", sample_weight_val=np.ones(N))
    refuse("X_val alone", "y_val|requires y", X_val=X)
    refuse("X_val columns", "X has 2 features", X_val=X[:, :2], y_val=good)
    refuse("X_val nan", "contains NaN", X_val=spoilt(X, np.nan), y_val=good)
    refuse("X_val one axis", "Expected 2D array", X_val=X[0], y_val=good)
    refuse("X_val no rows", "0 sample", X_val=X[:0], y_val=good)
    refuse("y_val rows", "as many rows as X", X_val=X, y_val=half)
    refuse("weight_val rows", "`sample_weight`", X_val=X, y_val=good, sample_weight_val=np.ones(3))
    refuse(
        "weight_val negative", "`sample_weight`", X_val=X, y_val=good, sample_weight_val=-np.ones(N)
    )
    refuse("weight_val zero", "`sample_weight`", X_val=X, y_val=good, sample_weight_val=np.zeros(N))
    refuse(
        "weight_val unknown",
        "'prise'",
        X_val=X,
        y_val=good,
        sample_weight_val={"prise": np.ones(N)},
    )
    stop = {"early_stopping": True}
    refuse("groups alone", "`groups` needs a splitter", params=stop, groups=np.arange(N))
    refuse(
        "groups rows",
        "(?i)groups|inconsistent",
        groups=np.arange(5),
        params={**stop, "validation_fraction": GroupShuffleSplit(random_state=0)},
    )
    refuse(
        "groups left out",
        "`?groups'? ",
        params={**stop, "validation_fraction": GroupShuffleSplit(random_state=0)},
    )
    refuse(
        "splitter class",
        r"`validation_fraction` must be an instance.*write ShuffleSplit\(\)",
        params={**stop, "validation_fraction": ShuffleSplit},
    )
    refuse(
        "splitter of nothing",
        "`validation_fraction` must give a split",
        params={**stop, "validation_fraction": NoSplit()},
    )
add(
    "y_val unknown",
    NET,
    "fit",
    "`y_val` names the unknown target 'prise'",
    X,
    Y,
    X_val=X,
    y_val={**Y, "prise": PRICE},
)
add(
    "y_val new class",
    NET,
    "fit",
    "'kind'.*villa",
    X,
    Y,
    X_val=X,
    y_val={**Y, "kind": spoilt(KIND, "villa", object)},
)
add(
    "y_val new class",
    CLF,
    "fit",
    "'y'.*villa",
    X,
    KIND,
    X_val=X,
    y_val=spoilt(KIND, "villa", object),
)
add(
    "y_val columns",
    NET,
    "fit",
    "'price'.*`y_val`.*columns",
    X,
    Y,
    X_val=X,
    y_val={**Y, "price": TAGS.astype(float)},
)
add(
    "y_val words",
    NET,
    "fit",
    "'price': Regression needs numbers",
    X,
    Y,
    X_val=X,
    y_val={**Y, "price": KIND},
)
add(
    "y_val main",
    NET,
    "fit",
    "`y_val` must hold the target of the main output 'price'",
    X,
    Y,
    X_val=X,
    y_val={"kind": KIND},
    params={"main_output": "price"},
)

# Classes of a stream.

BAD_CLASSES = {
    "unknown": ({"knd": ["flat", "house"]}, "`classes` names.*'knd'.*'kind'"),
    "of numbers": ({"price": [1, 2]}, "`classes`.*'price'|'price'.*classes"),
    "array": (["flat", "house"], "`classes` must be a dict by output"),
    "too few": ({"kind": ["flat"]}, "'kind'.*(class|label)|`classes`.*'kind'"),
    "other": ({"kind": ["a", "b"]}, "'kind'.*(class|label)|`classes`.*'kind'"),
    "number": ({"kind": 3}, "'kind'.*class"),
    "none": ({"kind": None}, "'kind'.*class"),
    "nan": ({"kind": ["flat", "house", np.nan]}, "'kind'.*class"),
    "matrix": ({"kind": [["flat", "house"]] * 2}, "'kind'.*class"),
    "empty": ({"kind": []}, "'kind'.*class"),
    "word": ({"kind": "flat"}, "'kind'.*class"),
}
for name, (classes, message) in BAD_CLASSES.items():
    add(f"classes {name}", NET, "partial_fit", message, X, Y, classes=classes, where="new")
for name in ("unknown", "of numbers", "array", "too few", "other"):
    classes, message = BAD_CLASSES[name]
    add(f"classes {name} later", NET, "partial_fit", message, X, Y, classes=classes, where="fitted")
add(
    "classes array",
    REG,
    "partial_fit",
    "`classes` must be a dict by auxiliary output",
    X,
    PRICE,
    classes=[1, 2],
    where="new",
)
add(
    "classes other",
    CLF,
    "partial_fit",
    "'y'.*(class|label)",
    X,
    KIND,
    classes=["a", "b"],
    where="new",
)
add("classes number", CLF, "partial_fit", "`?classes", X, KIND, classes=3, where="new")
add(
    "classes columns",
    CLF,
    "partial_fit",
    "`classes` must be a list.*2 columns",
    X,
    np.column_stack([KIND, KIND]),
    classes=[["flat", "house"]],
    where="new",
)
add(
    "one class",
    CLF,
    "partial_fit",
    "two classes at least.*declare.*`classes`",
    X,
    np.full(N, "flat"),
    where="new",
)

# Names of outputs, and of layers.

BAD_OUTPUTS = {
    "unknown": (["prise"], "`outputs` names the unknown output 'prise'.*did you mean 'price'"),
    "one unknown": (["price", "knd"], "'knd'.*did you mean 'kind'"),
    "text": ("price", "must be a list of names. Got 'price'"),
    "empty": ([], "`outputs` must name an output"),
    "position": ([0], "unknown output 0"),
    "none in it": ([None], "unknown output None"),
    "number": (0, "`outputs`.*list"),
    "true": (True, "`outputs`.*list"),
    "nested": ([["price"]], "unknown output"),
    "bytes": ([b"price"], "unknown output"),
}
for method in ("predict", "predict_proba"):
    for name, (outputs, message) in BAD_OUTPUTS.items():
        add(f"outputs {name}", NET, method, message, X, outputs=outputs, where="fitted")
for name, (outputs, message) in BAD_OUTPUTS.items():
    add(f"names {name}", NET, "drop_outputs", message, outputs, where="fitted")
    if name not in ("text", "empty", "one unknown"):
        one = outputs[0] if isinstance(outputs, list) else outputs
        add(
            f"name {name}",
            NET,
            "output",
            "OutputView: `name` names the unknown",
            one,
            where="fitted",
        )
add("all", NET, "drop_outputs", "must keep an output", list(Y), where="fitted")
add("own", REG, "drop_outputs", "must keep .*its main", ["y"], where="fitted")
add("own", CLF, "drop_outputs", "must keep .*its main", ["y"], where="fitted")
for cls in (NET, REG, CLF):
    add("at", cls, "embed", "(`at`|'lstm')", X, "lstm", where="fitted")
    add("at number", cls, "embed", "`at`|at=|3", X, 3, where="fitted")


@pytest.fixture(autouse=True)
def in_time():
    """Fail what takes longer than it may."""

    def fail(*_):
        raise AssertionError(f"no answer within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def state_of(net):
    """Return what a fit could change, and what the network predicts of it."""
    module = net.__dict__.get("module_")
    weights = {} if module is None else {k: v.clone() for k, v in module.state_dict().items()}
    attributes = {name: value for name, value in net.__dict__.items() if name != "net_"}
    return attributes, weights, list(net.__dict__.get("history_", []))


def same_state(state, other):
    attributes, weights, history = state
    return (
        attributes.keys() == other[0].keys()
        and all(value is other[0][name] for name, value in attributes.items())
        and weights.keys() == other[1].keys()
        and all(torch.equal(value, other[1][name]) for name, value in weights.items())
        and history == other[2]
    )


def calls():
    for name, (*case, where) in CASES.items():
        for is_fitted in (False, True):
            if where in ("both", "fitted" if is_fitted else "new"):
                kind = "fitted" if is_fitted else "new"
                yield pytest.param(*case, is_fitted, id=f"{name}-{kind}")


@pytest.mark.parametrize(
    ("cls", "method", "params", "args", "kwargs", "message", "is_fitted"), calls()
)
def test_a_malformed_call_is_refused_and_changes_nothing(
    cls, method, params, args, kwargs, message, is_fitted
):
    net = fitted(cls).set_params(**params) if is_fitted else make(cls, **params)
    before = state_of(net)
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        getattr(net, method)(*args, **kwargs)
    assert "truth value" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert same_state(state_of(net), before)
    if is_fitted:
        expected = fitted(cls).predict(X)
        assert np.all(net.predict(X) == expected)


def test_the_table_has_hundreds_of_calls():
    assert len(CASES) >= 150


@pytest.mark.parametrize("form", [tuple, np.array, pd.Index, set, iter])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_outputs_of_any_form_are_those_named(form, method):
    names = ["price", "kind"]
    net = fitted(NET)
    assert getattr(net, method)(X, form(names)) == getattr(net, method)(X, names)
