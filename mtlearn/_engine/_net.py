"""skorch's training loop, with one loss per output and one read of the losses per epoch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from skorch.callbacks import Callback, EpochTimer, PrintLog
from torch import Tensor, nn

from mtlearn._engine._data import Batches, TrainingData
from mtlearn._engine._fast_step import FastStep, Listener, can_be_fast, without_formula
from mtlearn._engine._losses import LossRecorder, epoch_losses
from mtlearn._engine._module import MultiOutputModule
from mtlearn._engine._objective import Objective, l2_penalty
from mtlearn._engine._predicting import Predicting
from mtlearn._engine._schedules import scheduled_rate, settings_ahead
from mtlearn._engine._stacked_step import StackedEpoch
from mtlearn._engine._stacks import Epoch, Member
from mtlearn._engine._stopping import StopTraining
from mtlearn._engine._weighing import Weighing, as_floats, backward_each
from mtlearn._interrupts import Interrupts
from mtlearn._pausing import can_ask, check_cancelled
from mtlearn.heads import Head

__all__ = ["LOSS_LIMIT", "Net"]

LOSS_LIMIT = 1e6


class Net(Predicting):
    """A skorch net whose loss is the weighted sum of the outputs' losses and the penalty.

    Loop, hooks, callbacks and history are skorch's. Three things differ: a step also returns its
    ``terms`` (the losses of all outputs, then the penalty); an epoch reads their means back once,
    at its end, where skorch waits for the device after every batch; and predictions are by output.
    The history of an epoch has ``train_loss``, ``train_<output>_loss`` and ``train_penalty``, and
    ``..._best`` beside each loss. Where weights change, ``train_measure`` is the total at weights
    that stay, by which epochs can be compared.

    Parameters
    ----------
    module : MultiOutputModule
        The network.
    criterion : Objective
        The losses.
    heads : mapping of str to Head
        The fitted heads of all outputs.
    weighing : Weighing or None
        What changes the weights of the losses; None if they stay.
    alpha : float
        The penalty on squared weights.
    loss_limit : float
        The loss of an output above which training counts as diverged.
    keep_batches : bool
        Whether to record each batch in the history, as skorch's own callbacks expect it.
    record_rate : bool
        Whether to record the learning rate at the beginning of each epoch.
    fast_step : bool or "auto"
        Whether gradients are computed by formula where one is known.
    **kwargs : Any
        What skorch's NeuralNet takes.
    """

    def __init__(
        self,
        module: MultiOutputModule,
        criterion: Objective,
        *,
        heads: Mapping[str, Head] | None = None,
        weighing: Weighing | None = None,
        alpha: float = 0.0,
        loss_limit: float = LOSS_LIMIT,
        keep_batches: bool = False,
        record_rate: bool = False,
        fast_step: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        self.interrupts = Interrupts()
        self.frozen: Sequence[nn.Module] = ()
        self.epochs_before = 0
        self.reusable = True
        self.first_rates: list[float] = []
        self.recorder = LossRecorder(loss_limit)
        self._step: FastStep | None = None
        self.watched: TrainingData | None = None
        self.used_weights: list[dict[str, float]] = []
        self.ended: StackedEpoch | None = None
        self.can_be_stacked = self.is_fast = False
        self._member = Member()
        self.main_output: str | None = None
        self.fast_step = fast_step
        self.heads = heads or {}
        self.weighing = weighing
        self.alpha = alpha
        self.loss_limit = loss_limit
        self.keep_batches = keep_batches
        self.record_rate = record_rate
        super().__init__(module, criterion=criterion, **kwargs)

    def get_default_callbacks(self) -> list[tuple[str, Any]]:
        """Return skorch's timer and, if it is to be printed, its table; no scoring of its own."""
        table = [("print_log", PrintLog())] if self.verbose else []
        return [("epoch_timer", EpochTimer()), *table]

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget the losses and weights of an earlier training."""
        super().on_train_begin(net, **kwargs)
        self.recorder.forget()
        self.used_weights = []

    def on_batch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a batch in the history, if batches are kept."""
        if self.keep_batches:
            super().on_batch_begin(net, **kwargs)

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Tell all callbacks; one that wants to stop is heard after the others had their turn.

        Raises
        ------
        StopTraining
            If a callback raised it, or a KeyboardInterrupt, which is how skorch's own stop.
        """
        getattr(self, method_name)(self, **kwargs)
        stops = False
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **kwargs)
            except (KeyboardInterrupt, StopTraining):
                if self.interrupts.handled:
                    raise
                stops = True
        if stops:
            raise StopTraining

    def train_step_single(self, batch: Any, **_fit_params: Any) -> dict[str, Any]:
        """Compute the total loss of a batch and its gradients, in one backward pass.

        A weighting that sees the gradients takes one for each output.
        """
        weighing = self._step_weighing
        if weighing is None or not weighing.sees_gradients:
            step = self._losses(batch, weighing)
            step["loss"].backward()
            return step
        learned = [p for _, p in self.get_all_learnable_params() if p.requires_grad]
        raw, losses, penalty = self._parts_of_loss(batch)
        weights = self.criterion_.weights
        terms = losses, weights, penalty
        factors = backward_each(weighing, self.module_, batch[0], *terms, learned)
        return self._as_step(raw, losses.detach(), penalty, weights * factors)

    def train_step(self, batch: Any, **fit_params: Any) -> Any:
        """Make the step of a batch, and tell the weighting what came of it."""
        step = super().train_step(batch, **fit_params)
        weighing = self._step_weighing
        if weighing is not None and weighing.sees_step_results:
            with torch.no_grad():
                weighing.end_step(lambda: as_floats(self._parts_of_loss(batch)[1]))
        return step

    def validation_step(self, batch: Any, **_fit_params: Any) -> dict[str, Any]:
        """Compute the total loss of a batch without gradients."""
        with torch.no_grad():
            return self._losses(batch)

    def run_single_epoch(
        self,
        iterator: Batches | None,
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, Any]],
        **_fit_params: Any,
    ) -> None:
        """Run all batches, then record the mean losses of the epoch.

        Raises
        ------
        Diverged
            If a mean loss is not finite, or above the limit.
        StopTraining
            After a signal, between two batches.
        """
        if iterator is None:
            return
        if training and self.record_rate:
            self.history.record("learning_rate", scheduled_rate(self))
        row, epoch = self.history[-1], self.epochs_before + len(self.history)
        if training:
            if self.weighing is not None:
                self.used_weights.append(self.weighing.begin_epoch(epoch - 1))
                self.criterion_.set_weights(self.used_weights[-1])
            self.ended = self._stacked_epoch(iterator)
        ended = self.ended
        losses = None if ended is None else ended.trained if training else ended.watched
        stops = self._is_interrupted if training else bool
        if losses is None:
            terms, sizes = self._run_batches(iterator, training, prefix, step_fn, stops)
            losses = epoch_losses(terms.unsqueeze(0), sizes)[0]
        if training and self.weighing is not None:
            self.used_weights[-1] |= self.weighing.end_epoch(losses.means[:-1])
            self.criterion_.set_weights(self.used_weights[-1])
        self.recorder.record(row, prefix, losses, self.criterion_, iterator.dataset.labels, epoch)
        if stops():
            raise StopTraining

    def release(self) -> None:
        """Let go of what only a training needs."""
        self.train_split = self.watched = self.ended = None
        if self._step is not None:
            self._step.release()
        self._member.leave()

    def _run_batches(
        self,
        iterator: Batches,
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, Any]],
        stops: Callable[[], bool],
    ) -> tuple[Tensor, list[int]]:
        """Run all batches; return the terms and the number of rows of each."""
        for whole in (self.module_, self.criterion_):
            if any(part.training != training for part in whole.modules()):
                whole.train(training)
        for part in self.frozen:
            part.training = False
        step = self._find_step() if training else None
        if step is None:
            return self._eager_epoch(iterator, training, prefix, step_fn, stops)
        return step.epoch(iterator, stops=stops, listener=self._listener(prefix))

    def _eager_epoch(
        self,
        iterator: Batches,
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, Any]],
        stops: Callable[[], bool],
    ) -> tuple[Tensor, list[int]]:
        """Run all batches by autograd; return the terms and the number of rows of each."""
        terms, sizes = [], []
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch)
            terms.append(step["terms"])
            sizes.append(_n_rows(batch))
            self._end_batch(batch, step, training, prefix)
            if stops():
                break
        return torch.stack(terms), sizes

    def _end_batch(self, batch: Any, step: dict[str, Any], training: bool, prefix: str) -> None:
        if self.keep_batches:
            self.history.record_batch(f"{prefix}_loss", step["loss"].item())
            self.history.record_batch(f"{prefix}_batch_size", _n_rows(batch))
        self.notify("on_batch_end", batch=batch, training=training, **step)

    def _stacked_epoch(self, batches: Batches) -> StackedEpoch | None:
        """Let whoever runs this fit beside others train an epoch of all; None if nobody does."""
        is_wanted = self.fast_step is not False and self._step_weighing is None
        if not can_ask() or not is_wanted or not self.can_be_stacked:
            return None
        model = self._member.find_model(
            self.module_, self.criterion_, self._raw_shapes, self.optimizer_, self.alpha
        )
        if model is None:
            return None
        schedule = dict(self.callbacks_).get("learning_rate_schedule")
        if getattr(schedule, "step_every", "") != "batch":
            found = self._member.train(Epoch(model, batches, self.watched))
        else:
            ahead = settings_ahead(schedule, self.optimizer_, len(batches), lambda: model.settings)
            with ahead as (settings, keep):
                found = self._member.train(Epoch(model, batches, self.watched, settings))
                if found is not None:
                    keep()
        self.is_fast |= found is not None
        return found

    def _find_step(self) -> FastStep | None:
        """Return the step by formulas; None if autograd is wanted or needed."""
        if self._step is not None and self._step.is_valid(self.optimizer_, self.alpha):
            return self._step
        self._step = None
        weighing = self._step_weighing
        self.is_fast = self.fast_step is not False and can_be_fast(self.module_, self.optimizer_)
        if weighing is not None and weighing.sees_gradients:  # autograd goes back only once
            self.is_fast &= not without_formula(self.module_, self.criterion_)
        if self.is_fast:
            parts = self.module_, self.criterion_, self._raw_shapes
            self._step = FastStep(*parts, self.optimizer_, self.alpha, weighing)
        return self._step

    @property
    def _step_weighing(self) -> Weighing | None:
        """What weighs the losses anew in each step."""
        return self.weighing if self.weighing is not None and self.weighing.sees_steps else None

    @property
    def _raw_shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: self.heads[name].raw_shape_ for name in self.criterion_.names}

    def _listener(self, prefix: str) -> Listener | None:
        """Return what tells the callbacks of batches, if one of them wants to see these."""
        methods = ("on_batch_begin", "on_batch_end", "on_grad_computed")
        listens = self.keep_batches or any(
            getattr(type(callback), method) is not getattr(Callback, method)
            for _, callback in self.callbacks_
            for method in methods
        )
        if not listens:
            return None
        parameters = list(self.module_.named_parameters())
        return Listener(
            lambda batch: self.notify("on_batch_begin", batch=batch, training=True),
            lambda batch: self.notify(
                "on_grad_computed", named_parameters=parameters, batch=batch, training=True
            ),
            lambda batch, step: self._end_batch(batch, step, True, prefix),
        )

    def _is_interrupted(self) -> bool:
        check_cancelled()
        return self.interrupts.received is not None

    def _losses(self, batch: Any, weighing: Weighing | None = None) -> dict[str, Any]:
        raw, losses, penalty = self._parts_of_loss(batch)
        weights = self.criterion_.weights
        if weighing is not None:
            weights = weights * weighing.factors_of(losses, _n_rows(batch))
        return self._as_step(raw, losses, penalty, weights)

    def _parts_of_loss(self, batch: Any) -> tuple[dict[str, Tensor], Tensor, Tensor | float]:
        """Return the raw outputs of a batch, the losses and the penalty."""
        X, labels = batch
        raw = self.module_(X)
        penalty = l2_penalty(self.module_.parameters(), self.alpha)
        return raw, self.criterion_(raw, labels), penalty

    def _as_step(
        self, raw: dict[str, Tensor], losses: Tensor, penalty: Tensor | float, weights: Tensor
    ) -> dict[str, Any]:
        terms = torch.cat([losses.detach(), torch.as_tensor(penalty).detach().to(losses).view(1)])
        return {"loss": losses @ weights + penalty, "y_pred": raw, "terms": terms}


def _n_rows(batch: Any) -> int:
    return len(next(iter(batch[1].values())).target)
