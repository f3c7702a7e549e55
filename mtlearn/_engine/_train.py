"""One training run: from fitted heads and labels to a trained network."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from skorch.helper import predefined_split
from skorch.history import History

from mtlearn._engine._data import Rows, TrainingData, training_data
from mtlearn._engine._history import history_rows
from mtlearn._engine._kept_training import KeptTraining
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._net import Net
from mtlearn._engine._optimizers import frozen
from mtlearn._engine._recipe import DTYPES, Recipe, check_device
from mtlearn._engine._resume import (
    copy_moments,
    dropout_states,
    load_training_state,
    put_moments,
    set_dropout_states,
    training_state,
)
from mtlearn._engine._stopping import (
    Diverged,
    StopTraining,
    copy_tensors,
    has_finite_weights,
    put_tensors,
    weights_diverged,
)
from mtlearn._interrupts import Interrupts
from mtlearn._typing import Spec
from mtlearn.exceptions import DivergenceError, TrainingInterruptedWarning
from mtlearn.heads import Head
from mtlearn.trunks import Trunk

__all__ = ["Trained", "train", "undone_on_failure"]


@dataclass(frozen=True)
class Trained:
    """A trained network, and what a later run continues from.

    Parameters
    ----------
    recipe : Recipe
        How it was trained, with "auto" replaced by numbers.
    module : MultiOutputModule
        The network, in evaluation mode.
    net : Net or None
        The skorch net that trained it; None if there was nothing to learn.
    totals : mapping of str to (float, int)
        The sum of each output's label weights, and the number of rows it is over.
    history : list of dict
        One row per epoch, of all runs.
    best_epoch : int
        The epoch, from 1 on, that the weights are of; 0 if there was none.
    error : DivergenceError or None
        Why the run ended, if it diverged.
    """

    recipe: Recipe
    module: MultiOutputModule
    net: Net | None
    totals: Mapping[str, tuple[float, int]]
    history: list[dict[str, float]]
    best_epoch: int
    error: DivergenceError | None = None


def train(
    recipe: Recipe,
    trunk: Trunk,
    heads: Mapping[str, Head],
    spec: Spec,
    rows: Rows,
    validation: Rows | None = None,
    main_output: str | None = None,
    *,
    callbacks: Sequence[Any] = (),
    before: Trained | None = None,
    totals: Mapping[str, tuple[float, int]] | None = None,
    checkpoint: KeptTraining | None = None,
) -> Trained:
    """Build the network, or go on with one, and train it.

    Parameters
    ----------
    recipe : Recipe
        How to train.
    trunk : Trunk
        The specification of the trunk; of a new network, it takes note of the rows that take part.
    heads : mapping of str to Head
        The fitted heads of all outputs.
    spec : int or dict of str to InputSpec
        What is known of X.
    rows : Rows
        What to train on.
    validation : Rows, default=None
        What to watch the losses on; None to watch none.
    main_output : str, default=None
        The output whose loss stops the training; None for the total.
    callbacks : sequence of skorch.callbacks.Callback or (str, Callback), default=()
        The user's callbacks.
    before : Trained, default=None
        The run to continue; its network is trained in place, see `undone_on_failure`.
    totals : mapping of str to (float, int), default=None
        The totals of the rows that these belong to; None for none.
    checkpoint : KeptTraining, default=None
        Where the state is kept, and gone on from; None for nowhere.

    Returns
    -------
    Trained
        What came out. If training diverged after its first epoch, this is the network of the
        best or the last good epoch, with the error beside it.

    Raises
    ------
    DivergenceError
        If a loss or a weight leaves the finite numbers in the first epoch.

    Warns
    -----
    TrainingInterruptedWarning
        If Ctrl-C or SIGTERM ended the training.
    """
    check_device(recipe.device)
    recipe = replace(recipe, main_output=main_output)
    dtype = DTYPES[recipe.dtype]
    history = [] if before is None else before.history
    with recipe.settings(len(history)), Interrupts() as interrupts:
        if before is None:
            recipe = replace(recipe, outputs=tuple(recipe.trained(heads)))
        trained = recipe.trained(heads)
        counted = [name for name in trained if not recipe.is_left_out(name)]
        data = training_data(rows, trained, dtype, recipe.device, totals, counted)
        if before is None:
            noted = data.rows if data.rows is not None and data.labels else rows
            module = recipe.build(trunk.note(noted.X, noted.index), heads, spec)
        else:
            module = before.module
            if recipe.device != before.recipe.device:
                module = module.to(recipe.device)
        recipe = recipe.for_rows(max(len(data), 1))
        if not data.labels:
            if checkpoint is not None:
                checkpoint.end(None)
            if before is not None:
                return replace(before, totals=data.totals)
            return Trained(recipe, module.eval(), None, data.totals, history, 0)
        watched = None
        if validation is not None:
            watched = training_data(validation, trained, dtype, recipe.device)
        if watched is None or not watched.labels:
            name = "measure" if recipe.schedules or recipe.weighting else "loss"
            watched = None
            recipe = replace(recipe, early_stopping=False, monitor=f"train_{name}")
        else:
            name = f"{main_output}_loss" if main_output in watched.labels else "loss"
            recipe = replace(recipe, monitor=f"valid_{name}")
        if checkpoint is not None:
            callbacks = [*callbacks, ("checkpoint", checkpoint)]
        net = _find_net(recipe, module, heads, callbacks, before, len(data))
        net.epochs_before = len(history)
        net.interrupts = interrupts
        with frozen(module, recipe.param_groups) as net.frozen:
            best, error = _run(net, data, watched, checkpoint)
    module.eval()
    before_now = len(history)
    weights = net.used_weights or [recipe.loss_weights] * len(net.history)
    rows_now = history_rows(net, heads, weights)
    if before is None:
        history = rows_now
    else:
        history.extend(rows_now)
    return Trained(recipe, module, net, data.totals, history, before_now + best, error)


def _find_net(
    recipe: Recipe,
    module: MultiOutputModule,
    heads: Mapping[str, Head],
    callbacks: Sequence[Any],
    before: Trained | None,
    n_rows: int,
) -> Net:
    """Return the net of the run before if it fits, else a new one with its moments."""
    if before is None or before.net is None:
        net = recipe.make_net(module, heads, callbacks, n_rows=n_rows)
        set_dropout_states(module, {})  # as after pickling, which keeps no state
        return net
    old, net = before.recipe, before.net
    if net.reusable and not callbacks and replace(old, batch_size=recipe.batch_size) == recipe:
        net.batch_size = recipe.batch_size
        return net
    same_optimizer = old.optimizer_params == recipe.optimizer_params and (
        old.optimizer == recipe.optimizer or _partial(old.optimizer) == _partial(recipe.optimizer)
    )
    made = recipe.make_net(module, heads, callbacks, n_rows=n_rows)
    same_weighting = old.weighting_as_text == recipe.weighting_as_text
    load_training_state(made, training_state(net), moments=same_optimizer, weighing=same_weighting)
    return made


def _partial(optimizer: Any) -> tuple[Any, ...]:
    """Return what makes two partials equal, which they are not by themselves."""
    if isinstance(optimizer, partial):
        return optimizer.func, optimizer.args, optimizer.keywords
    return (optimizer,)


@contextmanager
def undone_on_failure(before: Trained | None) -> Iterator[None]:
    """Put the network of a run, its moments and generators back if its continuation fails."""
    if before is None:
        yield
        return
    module, net, n_epochs = before.module, before.net, len(before.history)
    weights, dropout = copy_tensors(module), dropout_states(module)
    moments = None if net is None else (copy_moments(net), net.history_)
    try:
        yield
    except BaseException:
        put_tensors(module.to(before.recipe.device).eval(), weights)
        set_dropout_states(module, dropout)
        if net is not None and moments is not None:
            put_moments(net, moments[0])
            net.history_ = moments[1]
        del before.history[n_epochs:]
        raise


def _run(
    net: Net,
    data: TrainingData,
    watched: TrainingData | None,
    checkpoint: KeptTraining | None = None,
) -> tuple[int, DivergenceError | None]:
    """Run all epochs, or those that are left, until a signal or the best epoch stops them.

    Return the epoch that the weights are of, and why the run ended if it diverged.
    """
    net.watched = watched
    net.train_split = None if watched is None else predefined_split(watched)
    net.history_ = History()
    error = None
    # skorch's partial_fit does the same, but would swallow an interrupt from anywhere.
    try:
        with suppress(StopTraining):
            net.notify("on_train_begin", X=data, y=None)
            n_epochs = net.max_epochs if checkpoint is None else checkpoint.restore(net)
            net.fit_loop(data, epochs=n_epochs)
        if not _best_epoch(net) and not has_finite_weights(net.module_):
            raise weights_diverged(net)  # a callback or a signal ended the epoch before its check
        if net.history and "train_loss" not in net.history[-1]:
            del net.history[-1]
        best = _best_epoch(net) or len(net.history)
        if checkpoint is not None:
            checkpoint.end(net)
    except Diverged as diverged:
        best, error = _go_back(net, diverged)
    history = net.history_
    with suppress(StopTraining):
        net.notify("on_train_end", X=data, y=None)
    net.history_ = history  # a callback may have loaded an older one with its weights
    if error is not None and not best:
        raise error
    net.release()  # it outlives the fit, its data need not
    dict(net.callbacks_)["last_epochs"].forget()
    if net.interrupts.received is not None:
        net.interrupts.handled = True
        epoch = net.epochs_before + len(net.history)
        warnings.warn(
            f"{net.interrupts.received} ended the training in epoch {epoch}; the estimator keeps "
            f"the best weights so far, or the last ones without validation.",
            TrainingInterruptedWarning,
            stacklevel=2,
        )
    return best, error


def _go_back(net: Net, diverged: Diverged) -> tuple[int, DivergenceError]:
    """Restore the best or the last good epoch; return it, 0 if there is none, and what to raise."""
    before = len(net.history) - 1 - diverged.at_start
    epoch = _best_epoch(net) or dict(net.callbacks_)["last_epochs"].restore(net, before=before)
    if epoch == 0:
        return 0, DivergenceError(str(diverged))
    del net.history[-1]
    net.optimizer_.state.clear()  # the moments have diverged too
    kept = net.epochs_before + epoch
    return epoch, DivergenceError(f"{diverged} The estimator keeps the weights of epoch {kept}.")


def _best_epoch(net: Net) -> int:
    """Return the epoch of the run with the best watched loss; 0 if none was watched."""
    stopper = dict(net.callbacks_).get("best_epoch")
    return 0 if stopper is None else stopper.best_epoch_
