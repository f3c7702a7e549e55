"""scikit-learn's own callbacks, told of a fit and of its epochs."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from skorch.callbacks import Callback

from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._stopping import StopTraining

__all__ = ["CallbackSupportMixin", "TaskCallbacks", "with_callbacks"]

if find_spec("sklearn.callback") is not None:  # from scikit-learn 1.9 on
    from sklearn.callback import CallbackSupportMixin, with_callbacks
else:

    class CallbackSupportMixin:
        """Stands for scikit-learn's mixin where there is none."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method as it is."""
        return method


class TaskCallbacks(Callback):
    """Tells scikit-learn's callbacks of an estimator about its fit: one task for each epoch.

    Parameters
    ----------
    task : sklearn.callback.CallbackContext
        The task of the fit.
    estimator : estimator
        The estimator that is fitted.
    attributes : dict of str to Any
        The fitted attributes that are known before the training.
    X : array-like of shape (n_samples, n_features)
        The rows.
    y : Any
        The targets as the user gave them.
    sample_weight : Any
        The weights as the user gave them.
    """

    needs_batches = False
    is_stateless = True

    def __init__(
        self,
        task: Any,
        estimator: Any,
        attributes: Mapping[str, Any],
        X: Any,
        y: Any,
        sample_weight: Any,
    ) -> None:
        self.task = task
        self.estimator = estimator
        self.attributes = attributes
        self.X = X
        self.y = y
        self.sample_weight = sample_weight

    @staticmethod
    def begin(estimator: Any) -> Any:
        """Return the task of a fit; None if nothing watches the estimator."""
        if hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx"):
            # scikit-learn documents this method for estimators of other packages.
            return estimator._init_callback_context(max_subtasks=None)
        return None

    def on_train_begin(self, net: Any, **_kwargs: Any) -> None:
        """Begin the fit."""
        self.task.max_subtasks = net.max_epochs
        self.task.call_on_fit_task_begin(estimator=self.estimator, X=self.X, y=self.y)

    def on_epoch_begin(self, *_args: Any, **_kwargs: Any) -> None:
        """Begin an epoch."""
        self.epoch_ = self.task.subcontext(task_name="epoch")
        self.epoch_.call_on_fit_task_begin(estimator=self.estimator, X=self.X, y=self.y)

    def on_epoch_end(self, net: Any, **_kwargs: Any) -> None:
        """End an epoch, and the fit too if a callback wants it."""
        if self._end(self.epoch_, net):
            raise StopTraining

    def on_train_end(self, net: Any, **_kwargs: Any) -> None:
        """End the fit."""
        self._end(self.task, net)

    def _end(self, task: Any, net: Any) -> bool:
        metadata = {} if self.sample_weight is None else {"sample_weight": self.sample_weight}
        return task.call_on_fit_task_end(
            estimator=self.estimator,
            X=self.X,
            y=self.y,
            metadata=metadata,
            reconstruction_attributes=lambda: self._if_it_ended(net.module_),
        )

    def _if_it_ended(self, module: MultiOutputModule) -> dict[str, Any]:
        recipe = replace(self.attributes["_recipe"], outputs=tuple(module.names))
        module = copy.deepcopy(module).eval()
        return {**self.attributes, "module_": module, "_recipe": recipe, "history_": []}
