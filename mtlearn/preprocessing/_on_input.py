"""A transformer of scikit-learn for one of several inputs."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, ClassVar, Self

from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import Tags, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from mtlearn._sklearn import HasMethods, StrOptions, fit_context
from mtlearn._validation import check_known, naming
from mtlearn.inputs import Inputs
from mtlearn.preprocessing._dense import check_dense

__all__ = ["OnInput"]

PASSTHROUGH = "passthrough"


def _can_invert(step: "OnInput") -> bool:
    transformer = getattr(step, "transformer_", step.transformer)
    return transformer == PASSTHROUGH or hasattr(transformer, "inverse_transform")


class OnInput(TransformerMixin, BaseEstimator):
    """Apply a transformer of scikit-learn to one of several inputs.

    A step for Pipelines whose ``X`` is :class:`mtlearn.Inputs` or a dict of inputs. The other
    inputs are passed on as they are. Several inputs take several steps, one after the other.

    Parameters
    ----------
    name : str
        The input.
    transformer : scikit-learn transformer or "passthrough"
        What transforms it; a clone is fitted. ``"passthrough"`` leaves the input as it is, which a
        search can compare with transformers.

    Attributes
    ----------
    transformer_ : scikit-learn transformer or "passthrough"
        The fitted transformer.

    See Also
    --------
    ColumnInputs : Makes several inputs of the columns of one table.
    Tokenizer : Turns an input of texts into ids.
    sklearn.compose.ColumnTransformer : The same for the columns of one table; it can be the
        `transformer` for an input that is a DataFrame.

    Notes
    -----
    The transformer gets ``y`` where its ``fit`` has this argument. What it returns must be dense:
    an array or a DataFrame. To get DataFrames, call ``set_output`` of the transformer itself.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from mtlearn import Inputs
    >>> from mtlearn.preprocessing import OnInput, Tokenizer
    >>> X = Inputs({"text": ["free entry", "see you", "ok"], "size": [[1.0], [2.0], [3.0]]})
    >>> steps = make_pipeline(OnInput("text", Tokenizer()), OnInput("size", StandardScaler()))
    >>> transformed = steps.fit_transform(X)
    >>> transformed["size"].ravel().round(2)
    array([-1.22,  0.  ,  1.22])
    >>> transformed["text"]
    array([[3, 2],
           [5, 6],
           [4, 0]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "name": [str],
        "transformer": [HasMethods(["fit", "transform"]), StrOptions({PASSTHROUGH})],
    }

    def __init__(self, name: str, transformer: Any) -> None:
        self.name = name
        self.transformer = transformer

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fit a clone of the transformer on the input.

        Parameters
        ----------
        X : Inputs or dict of array-like
            The inputs by name.
        y : Targets, dict of array-like or array-like, default=None
            The targets, for a transformer that takes them.
        **params : dict
            What the transformer's ``fit`` takes besides, such as ``sample_weight``. With
            scikit-learn's metadata routing, only what it requests. ``"passthrough"`` ignores it.

        Returns
        -------
        OnInput
            This object.

        Raises
        ------
        TypeError
            If X is no dict.
        ValueError
            For an unknown input, and where the transformer cannot be fitted.
        """
        inputs = self._check_inputs(X)
        if self.transformer == PASSTHROUGH:
            self.transformer_ = PASSTHROUGH
            return self
        transformer = clone(self.transformer)
        routed = self._route("fit", params)
        with naming(self._subject()):
            self.transformer_ = transformer.fit(
                inputs[self.name], *_labels(y, transformer.fit), **routed
            )
        return self

    @fit_context(prefer_skip_nested_validation=False)
    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Inputs:
        """Fit a clone of the transformer, and transform the input that it is fitted on.

        This calls the transformer's own ``fit_transform``, which for some, such as scikit-learn's
        TargetEncoder, differs from ``fit`` and ``transform``.

        Parameters
        ----------
        X : Inputs or dict of array-like
            The inputs by name.
        y : Targets, dict of array-like or array-like, default=None
            The targets, for a transformer that takes them.
        **params : dict
            What the transformer's ``fit`` takes besides, such as ``sample_weight``. With
            scikit-learn's metadata routing, only what it requests. ``"passthrough"`` ignores it.

        Returns
        -------
        Inputs
            The inputs with this one transformed.

        Raises
        ------
        TypeError
            If X is no dict, or if the transformer returns a sparse matrix.
        ValueError
            For an unknown input, and where the transformer cannot be fitted.
        """
        if not hasattr(self.transformer, "fit_transform"):
            return self.fit(X, y, **params).transform(X)
        inputs = self._check_inputs(X)
        transformer = clone(self.transformer)
        routed = self._route("fit_transform", params)
        labels = _labels(y, transformer.fit, transformer.fit_transform)
        with naming(self._subject()):
            values = transformer.fit_transform(inputs[self.name], *labels, **routed)
        self.transformer_ = transformer
        return self._replaced(inputs, values)

    def transform(self, X: Any) -> Inputs:
        """Transform the input.

        Parameters
        ----------
        X : Inputs or dict of array-like
            The inputs by name.

        Returns
        -------
        Inputs
            The inputs with this one transformed; the others are the same objects.

        Raises
        ------
        TypeError
            If X is no dict, or if the transformer returns a sparse matrix.
        ValueError
            For an unknown input.
        """
        return self._apply("transform", X)

    @available_if(_can_invert)
    def inverse_transform(self, X: Any) -> Inputs:
        """Map the transformed input back, where the transformer can.

        Parameters
        ----------
        X : Inputs or dict of array-like
            The inputs by name, this one transformed.

        Returns
        -------
        Inputs
            The inputs with this one mapped back.
        """
        return self._apply("inverse_transform", X)

    def get_metadata_routing(self) -> MetadataRouter:
        """Return what the transformer requests of scikit-learn's metadata routing.

        Returns
        -------
        MetadataRouter
            The requests.
        """
        router = MetadataRouter(owner=self)
        if self.transformer == PASSTHROUGH:
            return router
        mapping = MethodMapping().add(caller="fit", callee="fit")
        mapping.add(caller="fit_transform", callee="fit_transform")
        return router.add(transformer=self.transformer, method_mapping=mapping)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.dict = True
        tags.input_tags.two_d_array = False
        if self.transformer != PASSTHROUGH:
            inner = get_tags(self.transformer)
            tags.input_tags.allow_nan = inner.input_tags.allow_nan
            tags.non_deterministic = inner.non_deterministic
            tags.target_tags.required = inner.target_tags.required
        return tags

    def _check_inputs(self, X: Any) -> Inputs:
        if not isinstance(X, Mapping):
            raise TypeError(
                f"OnInput: X must be Inputs or a dict of inputs by name, of which {self.name!r} is "
                f"transformed. Got {type(X).__name__}; write Inputs({{{self.name!r}: X}}), or "
                f"leave out OnInput around the transformer."
            )
        inputs = X if isinstance(X, Inputs) else Inputs(X)
        check_known([self.name], inputs, subject="OnInput: `name`", noun="input")
        return inputs

    def _apply(self, method: str, X: Any) -> Inputs:
        check_is_fitted(self)
        inputs = self._check_inputs(X)
        if self.transformer_ == PASSTHROUGH:
            return inputs
        with naming(self._subject()):
            values = getattr(self.transformer_, method)(inputs[self.name])
        return self._replaced(inputs, values)

    def _replaced(self, inputs: Inputs, values: Any) -> Inputs:
        check_dense(values, self.transformer_, subject=self._subject())
        with naming(self._subject()):
            return Inputs({**inputs, self.name: values})

    def _route(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if not params or not get_config()["enable_metadata_routing"]:
            return params
        return process_routing(self, method, **params)["transformer"][method]

    def _subject(self) -> str:
        return f"OnInput: input {self.name!r}"


def _labels(y: Any, *methods: Callable[..., Any]) -> tuple[Any, ...]:
    """Return the argument `y` if all of the methods take one."""
    return (y,) if all("y" in signature(method).parameters for method in methods) else ()
