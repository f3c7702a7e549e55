"""A network that learns a stream: the trunk, the experts of all outputs, and their steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtlearn._engine._blas import blas_threads
from mtlearn._engine._online_output import OnlineOutput
from mtlearn._engine._online_stepper import OnlineStepper
from mtlearn._engine._optimizers import find_optimizer
from mtlearn._engine._resume import dropout_states, set_dropout_states
from mtlearn._random import part_seed, seeded
from mtlearn._running import RunningFeatures
from mtlearn._typing import Array, Floats, Mask
from mtlearn.exceptions import DivergenceError
from mtlearn.trunks import Trunk

__all__ = ["OnlineNetwork", "OnlineRecipe", "Step"]


N_PROBES = 100
RAW_VARIANCE = 10.0


@dataclass(frozen=True)
class OnlineRecipe:
    """How to learn: everything but the data and the parts.

    The loss of an output is the sum of its experts' by their weights, times `share_by_weight`, and
    the rest of it their mean. Absent values are estimated where there are `most_imputed` features
    or fewer.
    """

    loss_weights: Mapping[str, float]
    optimizer: Any
    optimizer_params: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 0.1
    second_order: bool = True
    share_by_weight: float = 0.5
    scale: bool = True
    most_imputed: float = 250
    forgetting: float = 1.0
    seed: int = 0
    batch_size: int = 1
    n_threads: int | None = 1


@dataclass(frozen=True)
class Step:
    """What the trunk made of a batch: a tensor of each expert, and where experts were there."""

    tensors: list[Tensor]
    features: list[Floats]
    experts_present: Mask | None


class OnlineNetwork:
    """The state of a stream's learner.

    Parameters
    ----------
    recipe : OnlineRecipe
        How to learn.
    trunk : Trunk
        The trunk's specification.
    outputs : dict of str to OnlineOutput
        The outputs with weight in the loss, and others.
    """

    def __init__(
        self, recipe: OnlineRecipe, trunk: Trunk, outputs: Mapping[str, OnlineOutput]
    ) -> None:
        self.recipe, self.trunk, self.outputs = recipe, trunk, dict(outputs)
        self.features = RunningFeatures(
            scale=recipe.scale, most_imputed=recipe.most_imputed, forgetting=recipe.forgetting
        )
        self.n_features, self.n_steps = 0, 0
        self.module: Any = nn.Identity()
        self.expert_names: list[str] = []
        self._stepper = OnlineStepper(
            partial(
                find_optimizer(recipe.optimizer), lr=recipe.learning_rate, **recipe.optimizer_params
            )
        )

    def widen(self, names: Sequence[str]) -> None:
        """Take the features of these names, of which the first are those there are.

        Raises
        ------
        ValueError
            If the trunk cannot take more features than it was made with.
        """
        if len(names) == self.n_features:
            return
        seed = part_seed(self.recipe.seed, f"trunk/{len(names)}")
        with seeded(seed):
            if self.n_features == 0:
                self.module = self.trunk.build(len(names)).double()
            elif not hasattr(self.module, "widen"):
                new = list(names[self.n_features :])
                raise ValueError(
                    f"`trunk` {type(self.trunk).__name__} takes the features that it began with. "
                    f"Got the new ones {new}; use Hedge, AuxDrop or AuxNet, which take more."
                )
            else:
                self._stepper.forget()
                self.module.widen(len(names))
                self.module.double()
        self.n_features = len(names)
        self.features.widen(len(names))
        self._find_experts()

    def _find_experts(self) -> None:
        """Let the outputs have heads for what the trunk makes.

        Their weights begin with a variance by which the raw outputs of features that are standard
        normal have the variance `RAW_VARIANCE`.
        """
        self.module.eval()
        rows = np.random.default_rng(0).normal(size=(N_PROBES, self.n_features))
        rows /= np.sqrt((rows**2).mean(axis=0))
        with torch.no_grad():
            made = self.module(torch.from_numpy(rows))
        made = made if isinstance(made, dict) else {"trunk": made}
        self.expert_names = list(made)
        widths = [tensor.shape[1] for tensor in made.values()]
        lengths = [float(tensor.square().sum(dim=1).mean()) for tensor in made.values()]
        variances = [RAW_VARIANCE / max(length, 1.0) for length in lengths]
        for output in self.outputs.values():
            output.widen(widths, variances)

    def _made(self, z: Floats, present: Mask) -> dict[str, Tensor]:
        x = torch.from_numpy(z)
        if not hasattr(self.module, "experts"):
            made = self.module(x)
            return made if isinstance(made, dict) else {"trunk": made}
        sees_weights = getattr(self.module, "sees_weights", False)
        weights = torch.from_numpy(self._mean_weights()) if sees_weights else None
        return self.module(x, torch.from_numpy(present), weights)

    def _mean_weights(self) -> Floats:
        """Return the mean weight of each expert over the outputs, by the outputs' weights."""
        weights = self.recipe.loss_weights
        names = [name for name in sorted(self.outputs) if self.outputs[name].is_trained]
        total = sum(weights[name] for name in names)
        found = [weights[n] / total * self.outputs[n].weigher.weights for n in names]
        return np.sum(found, axis=0)

    def forward(self, z: Floats, present: Mask, *, learns: bool) -> Step:
        """Return what the trunk makes of rows without NaN."""
        if self.module.training != learns:
            self.module.train(learns)
        with torch.set_grad_enabled(learns):
            made = self._made(z, present)
        there = None
        if hasattr(self.module, "experts_present"):
            there = self.module.experts_present(torch.from_numpy(present)).numpy()
        features = [tensor.detach().numpy() for tensor in made.values()]
        return Step(list(made.values()), features, there)

    def predict(self, rows: Floats, names: Sequence[str]) -> dict[str, tuple[Array, Any]]:
        """Return the mixed raw outputs and probabilities of outputs that have experts.

        A row without any feature has the best constant.
        """
        with blas_threads(self.recipe.n_threads):
            return self._predict(rows, names)

    def _predict(self, rows: Floats, names: Sequence[str]) -> dict[str, tuple[Array, Any]]:
        present = np.isfinite(rows)
        step = self.forward(self.features.transform(rows), present, learns=False)
        empty = ~present.any(axis=1)
        found = {}
        for name in names:
            output = self.outputs[name]
            if output.experts is None:
                continue
            raw = output.experts.raw(output.experts.inputs(step.features))
            raw[:, empty] = np.asarray(output.head.constant_raw_).reshape(-1)
            mixture = output.mixture(step.experts_present, len(rows))
            if step.experts_present is not None:
                mixture = np.where(mixture.any(axis=1, keepdims=True), mixture, 1 / len(raw))
            found[name] = output.mix(raw, mixture)
        return found

    def learn_in_steps(
        self,
        rows: Floats,
        labels: Mapping[str, Array],
        weights: Mapping[str, Floats],
        batch_size: int,
    ) -> None:
        """Make a step on each batch of rows, whose labels were checked; see `learn`."""
        for name, output in self.outputs.items():
            output.labels.begin(labels[name], weights[name])
        with blas_threads(self.recipe.n_threads):
            for start in range(0, len(rows), batch_size):
                here = slice(start, start + batch_size)
                self.learn(
                    rows[here],
                    {name: values[here] for name, values in labels.items()},
                    {name: values[here] for name, values in weights.items()},
                )

    def learn(
        self, rows: Floats, labels: Mapping[str, Array], weights: Mapping[str, Floats]
    ) -> None:
        """Make one step on a batch, whose labels were checked.

        Raises
        ------
        DivergenceError
            If an output leaves the finite numbers; no weight has changed then.
        """
        noted = {
            name: output.note(labels[name], weights[name]) for name, output in self.outputs.items()
        }
        self.n_steps += 1
        changed = {name: sources for name, sources in noted.items() if sources is not None}
        if changed:
            self._stepper.renew(self.module, self.outputs, changed)
        there = np.isfinite(rows).any(axis=1)
        if not there.any():
            return
        rows = rows[there]
        present = np.isfinite(rows)
        step = self.forward(self.features.learn(rows), present, learns=True)
        gradients = [np.zeros(features.shape) for features in step.features]
        updates = []
        for name, output in sorted(self.outputs.items()):
            weight = weights[name][there]
            if output.experts is None or not weight.any():
                continue
            target, weight = output.encode(labels[name][there], weight)
            updates.append(self._update(name, output, step, target, weight, gradients))
        for commit in updates:
            commit()
        if updates:
            self._stepper.step(self.module, self.outputs, step.tensors, gradients)

    def _update(
        self,
        name: str,
        output: OnlineOutput,
        step: Step,
        target: Array,
        weight: Floats,
        gradients: list[Floats],
    ) -> Any:
        """Add an output's gradients; return what lets its experts learn."""
        experts = output.experts
        assert experts is not None
        inputs = experts.inputs(step.features)
        raw = experts.raw(inputs)
        found = output.slopes(raw, target, weight)
        if not (np.isfinite(found.losses).all() and np.isfinite(found.slopes).all()):
            raise DivergenceError(
                f"output {name!r}: training diverged in step {self.n_steps}. Lower "
                f"`learning_rate`, or scale X."
            )
        n_rows = len(target)
        there = step.experts_present
        shares = self._shares(output, there, n_rows)
        scale = self.recipe.loss_weights[name] / (
            n_rows * output.labels.share * output.head.baseline_
        )
        slopes = scale * shares * found.weight * found.slopes
        for total, own in zip(gradients, experts.feature_gradients(slopes), strict=True):
            total += own
        relative = found.weight / output.labels.mean_weight
        if there is not None:
            relative = relative * there.T[..., None]
        labelled = weight.reshape(n_rows, -1).any(axis=1)

        def commit() -> None:
            if experts.second_order:
                experts.learn(inputs, relative * found.slopes, relative * found.curvatures)
            else:
                experts.set_gradients(inputs, slopes)
            output.weigher.learn(
                found.losses.T[labelled], None if there is None else there[labelled]
            )

        return commit

    def _shares(self, output: OnlineOutput, there: Mask | None, n_rows: int) -> Floats:
        """Return what of its loss each expert gives the trunk: (n_experts, 1 or n_rows, 1)."""
        by_weight, n_experts = self.recipe.share_by_weight, output.weigher.n_outputs
        if there is None:
            shares = by_weight * output.weigher.weights + (1 - by_weight) / n_experts
            return shares[:, None, None]
        mean = there / np.maximum(there.sum(axis=1, keepdims=True), 1)
        shares = by_weight * output.mixture(there, n_rows) + (1 - by_weight) * mean
        return shares.T[..., None]

    def __getstate__(self) -> dict[str, Any]:
        """Return arrays and plain values: no torch module, no optimizer."""
        state = self.__dict__.copy()
        del state["module"]
        weights = self.module.state_dict()
        state["_weights"] = {name: tensor.numpy().copy() for name, tensor in weights.items()}
        state["_dropouts"] = dropout_states(self.module)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = state.copy()
        weights, dropouts = state.pop("_weights"), state.pop("_dropouts")
        self.__dict__.update(state)
        self.module = nn.Identity()
        if self.n_features:
            with seeded(part_seed(self.recipe.seed, f"trunk/{self.n_features}")):
                self.module = self.trunk.build(self.n_features).double()
            self.module.load_state_dict({name: torch.tensor(w) for name, w in weights.items()})
            set_dropout_states(self.module, dropouts)
