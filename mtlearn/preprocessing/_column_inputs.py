"""Several inputs made of the columns of one table."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import get_config
from sklearn.base import TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.utils import Bunch, Tags, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted

from mtlearn._params import NamedParts
from mtlearn._sklearn import fit_context
from mtlearn._validation import check_input_names, naming
from mtlearn.inputs import Inputs
from mtlearn.preprocessing._dense import check_dense

__all__ = ["ColumnInputs"]


class ColumnInputs(TransformerMixin, NamedParts):
    """Make several inputs of the columns of one table.

    What scikit-learn's ColumnTransformer does, but what comes of each entry stays apart as an input
    of its own, with its own type: numbers are scaled, categories become codes, and a network such
    as one with :class:`mtlearn.trunks.Graph` takes each by its name.

    Parameters
    ----------
    inputs : list of (name, transformer, columns)
        The inputs, in the order of ColumnTransformer's entries. A transformer is one of
        scikit-learn, of which a clone is fitted, or ``"passthrough"``. Columns are whatever
        ColumnTransformer takes: names, positions, a slice, a mask, or a function such as
        `make_column_selector`; one name without a list gives the transformer one axis, as texts
        want it. Columns that no entry names are left out, and several entries may name the same.

    Attributes
    ----------
    column_transformers_ : dict of str to ColumnTransformer
        What makes each input.
    named_transformers_ : Bunch
        The fitted transformer of each input.
    input_names_ : list of str
        The names of the inputs.
    n_features_in_ : int
        The number of columns of X.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X was a DataFrame.

    See Also
    --------
    OnInput : Applies a transformer to one of several inputs.
    mtlearn.Inputs : What comes out.
    mtlearn.trunks.CategoryEmbedding : Makes vectors of an input of categories.
    sklearn.compose.ColumnTransformer : Puts the results side by side in one table.

    Notes
    -----
    Each input is made by a ColumnTransformer with one entry, so that its rules hold: columns of a
    DataFrame are found by name when the order differs in ``transform``, further columns do no harm,
    and missing ones are an error. Transformers must return dense tables, of two axes. Names of
    ColumnTransformer's own parameters, such as ``"remainder"``, cannot be names of inputs.

    An input has one type, so columns that are passed on together should have one too. Integers stay
    integers. After ``set_output(transform="pandas")`` the inputs are DataFrames, whose columns
    reach a network as floats.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.preprocessing import OrdinalEncoder, StandardScaler
    >>> from mtlearn.preprocessing import ColumnInputs
    >>> X = pd.DataFrame({"age": [20.0, 30, 40, 50], "city": ["Rome", "Oslo", "Rome", None],
    ...                   "job": ["cook", "cook", "nurse", "nurse"], "note": ["", "", "", "?"]})
    >>> encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1,
    ...                          encoded_missing_value=-1, dtype=np.int64)
    >>> columns = ColumnInputs([("numbers", StandardScaler(), ["age"]),
    ...                         ("categories", encoder, ["city", "job"])])
    >>> inputs = columns.fit_transform(X)
    >>> inputs
    Inputs of 4 rows:
      numbers     float64 (4, 1)
      categories  int64 (4, 2)
    >>> inputs["categories"]
    array([[ 1,  0],
           [ 0,  0],
           [ 1,  1],
           [-1,  1]])

    Categories that ``fit`` did not see get the code -1 too. In a Pipeline, transformers are reached
    by the names of their inputs:

    >>> from sklearn.pipeline import make_pipeline
    >>> from mtlearn import MultiOutputNet
    >>> from mtlearn.trunks import MLP, CategoryEmbedding, Graph
    >>> net = MultiOutputNet(Graph([
    ...     ("categories_embedded", CategoryEmbedding(8), "categories"),
    ...     ("dense", MLP((16,)), ["numbers", "categories_embedded"])]), max_epochs=5)
    >>> pipe = make_pipeline(columns, net).set_params(columninputs__numbers__with_mean=False)
    >>> pipe[0].inputs[0]
    ('numbers', StandardScaler(with_mean=False), ['age'])
    >>> y = {"rent": [700.0, 900, 800, 1000], "likes": ["tea", "tea", "coffee", "tea"]}
    >>> pipe.fit(X, y).predict(X.assign(city="Bonn"))["rent"].shape
    (4,)
    """

    _named_parts = "inputs"
    _part_noun = "input"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"inputs": [list, tuple]}
    _container: str | None = None  # what `set_output` asked for

    def __init__(self, inputs: Sequence[tuple[str, Any, Any]]) -> None:
        self.inputs = inputs

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fit a clone of each transformer on its columns.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            The table.
        y : Targets, dict of array-like or array-like, default=None
            The targets, for transformers that take them.
        **params : dict
            What the transformers' ``fit`` takes besides, such as ``sample_weight``: with
            scikit-learn's metadata routing, what each requests.

        Returns
        -------
        ColumnInputs
            This object.

        Raises
        ------
        TypeError
            If X is a dict, for a name that is no string, and for a sparse result.
        ValueError
            For names that are empty, contain ``"__"`` or are taken twice, columns that X does not
            have, an input without columns, and where a transformer cannot be fitted.
        """
        self.fit_transform(X, y, **params)
        return self

    @fit_context(prefer_skip_nested_validation=False)
    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Inputs:
        """Fit a clone of each transformer, and transform the columns that it is fitted on.

        This calls the transformers' own ``fit_transform``, which for some, such as scikit-learn's
        TargetEncoder, differs from ``fit`` and ``transform``.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            The table.
        y : Targets, dict of array-like or array-like, default=None
            The targets, for transformers that take them.
        **params : dict
            What the transformers' ``fit`` takes besides, such as ``sample_weight``: with
            scikit-learn's metadata routing, what each requests.

        Returns
        -------
        Inputs
            What each transformer makes of its columns, by name.

        Raises
        ------
        TypeError
            If X is a dict, for a name that is no string, and for a sparse result.
        ValueError
            For names that are empty, contain ``"__"`` or are taken twice, columns that X does not
            have, an input without columns, and where a transformer cannot be fitted.
        """
        self._check_inputs()
        X = _as_table(X)
        routed: Mapping[str, Any] = {}
        if params and get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit_transform", **params)
        fitted = self._column_transformers()
        values: dict[str, Any] = {}
        for name, columns in fitted.items():
            metadata = routed[name]["fit_transform"] if routed else params
            with naming(_subject(name)):
                if self._container is not None:
                    columns.set_output(transform=self._container)
                values[name] = columns.fit_transform(X, y, **metadata)
        inputs = _as_inputs(values, fitted)
        self.column_transformers_ = fitted
        return inputs

    def transform(self, X: Any) -> Inputs:
        """Transform a table.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            The table. The order of a DataFrame's columns is free.

        Returns
        -------
        Inputs
            What each transformer makes of its columns, by name.

        Raises
        ------
        TypeError
            If X is a dict, and for a sparse result.
        ValueError
            For missing columns, and where a transformer refuses the values.
        """
        check_is_fitted(self)
        X = _as_table(X)
        values: dict[str, Any] = {}
        for name, columns in self.column_transformers_.items():
            with naming(_subject(name)):
                values[name] = columns.transform(X)
        return _as_inputs(values, self.column_transformers_)

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose what the inputs are: arrays or DataFrames.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            Arrays, as a rule, or DataFrames of a library. None changes nothing.

        Returns
        -------
        ColumnInputs
            This object.
        """
        if transform is not None:
            self._container = transform
            for name, columns in getattr(self, "column_transformers_", {}).items():
                with naming(_subject(name)):
                    columns.set_output(transform=transform)
        return self

    def get_metadata_routing(self) -> MetadataRouter:
        """Return what the transformers request of scikit-learn's metadata routing.

        Returns
        -------
        MetadataRouter
            The requests.
        """
        router = MetadataRouter(owner=self)
        for name, columns in self._column_transformers().items():
            mapping = MethodMapping().add(caller="fit", callee="fit_transform")
            mapping.add(caller="fit_transform", callee="fit_transform")
            router.add(method_mapping=mapping, **{name: columns})
        return router

    @property
    def named_transformers_(self) -> Bunch:
        """The fitted transformer of each input, by name."""
        fitted = self.column_transformers_.items()
        return Bunch(**{name: columns.named_transformers_[name] for name, columns in fitted})

    @property
    def input_names_(self) -> list[str]:
        """The names of the inputs."""
        return list(self.column_transformers_)

    @property
    def n_features_in_(self) -> int:
        """The number of columns of X."""
        return self._first().n_features_in_

    @property
    def feature_names_in_(self) -> np.ndarray[Any, np.dtype[Any]]:
        """The names of the columns of X, if it was a DataFrame."""
        return self._first().feature_names_in_

    def __sklearn_clone__(self) -> Self:
        twin = super().__sklearn_clone__()
        twin._container = self._container
        return twin

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        parts = [
            part for _, part, _ in self._complete_entries() if hasattr(part, "__sklearn_tags__")
        ]
        inner = [get_tags(part) for part in parts]
        tags.input_tags.allow_nan = all(part.input_tags.allow_nan for part in inner)
        tags.input_tags.categorical = any(part.input_tags.categorical for part in inner)
        tags.input_tags.string = any(part.input_tags.string for part in inner)
        tags.non_deterministic = any(part.non_deterministic for part in inner)
        tags.target_tags.required = any(part.target_tags.required for part in inner)
        return tags

    def _check_inputs(self) -> None:
        """Raise for entries that are none, and for names that cannot be used."""
        example = "('numbers', StandardScaler(), ['age'])"
        if not self.inputs:
            raise ValueError(f"ColumnInputs: `inputs` must hold an input. Got none; add {example}.")
        for entry in self.inputs:
            if not isinstance(entry, list | tuple) or len(entry) != 3:
                raise ValueError(
                    f"ColumnInputs: an input must be (name, transformer, columns). Got {entry!r}; "
                    f"write {example}."
                )
        names = [name for name, _, _ in self.inputs]
        check_input_names(names, subject="ColumnInputs")
        taken = [*names, *self.get_params(deep=False)]
        twice = sorted({name for name in names if taken.count(name) > 1})
        if twice:
            raise ValueError(
                f"ColumnInputs: names must differ from each other and from that of a parameter. "
                f"Got {names}; rename {twice}."
            )
        for name, transformer, _ in self.inputs:
            if isinstance(transformer, str) and transformer == "drop":
                raise ValueError(
                    f"{_subject(name)}: a transformer must be one of scikit-learn, or "
                    f"'passthrough'. Got 'drop'; leave the entry out."
                )

    def _column_transformers(self) -> dict[str, ColumnTransformer]:
        """Return what is to make each input."""
        return {
            name: ColumnTransformer(
                [(name, clone(transformer, safe=False), columns)],
                remainder="drop",
                sparse_threshold=1,  # sparse results are to be refused, and not filled up
                verbose_feature_names_out=False,
            )
            for name, transformer, columns in self._complete_entries()
        }

    def _first(self) -> ColumnTransformer:
        return next(iter(self.column_transformers_.values()))


def _as_table(X: Any) -> Any:
    """Return a table; lists of numbers as an array, so that these keep their type."""
    if isinstance(X, Mapping):
        raise TypeError(
            f"ColumnInputs: X must be a table, of whose columns inputs are made. Got "
            f"{type(X).__name__}; write DataFrame(X) for columns by name, or use OnInput for one "
            f"of several inputs."
        )
    if isinstance(X, list | tuple):
        with naming("ColumnInputs: X"):
            array = np.asarray(X)
        X = array if array.dtype.kind in "biuf" else X
    shape = getattr(X, "shape", (0, 0))
    if len(shape) != 2:
        raise ValueError(
            f"ColumnInputs: X must be a table of the shape (n_samples, n_features). Got "
            f"{type(X).__name__} of the shape {tuple(shape)}."
        )
    return X


def _as_inputs(values: dict[str, Any], made_by: Mapping[str, ColumnTransformer]) -> Inputs:
    for name, value in values.items():
        fitted = made_by[name]
        _, transformer, columns = fitted.transformers_[0]
        check_dense(value, transformer, subject=_subject(name))
        if value.shape[1] == 0:
            known = list(getattr(fitted, "feature_names_in_", range(fitted.n_features_in_)))
            raise ValueError(
                f"{_subject(name)}: an input must have a column. Got none of {columns!r}, which is "
                f"selected of {known}; select others, or leave the entry out."
            )
    with naming("ColumnInputs"):
        return Inputs(values)


def _subject(name: str) -> str:
    return f"ColumnInputs: input {name!r}"
