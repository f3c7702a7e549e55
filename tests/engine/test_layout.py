"""Layouts say what is computed together, in one network and in several side by side."""

import numpy as np
import pytest
import torch
from torch import nn

from mtlearn._engine._layout import find_layout, stacked_layout
from mtlearn._engine._module import build_module
from mtlearn._engine._objective import Objective
from mtlearn.heads import Classification, MultiLabel, Regression
from mtlearn.trunks import MLP

N, N_MODELS = 11, 3
RNG = np.random.default_rng(0)
Y = {
    "kind": np.arange(N) % 3,
    "pair": RNG.normal(size=(N, 2)),
    "price": RNG.normal(size=N),
    "sort": np.arange(N) // 2 % 3,
    "tags": (RNG.normal(size=(N, 2)) > 0).astype(int),
}


def make(delta=1.0, smoothing=0.0, pos_weight=1.0, deep=(), n_units=4, tap=None, **heads):
    settings = {"label_smoothing": smoothing, "hidden_layer_sizes": deep}
    made = {
        "kind": Classification(**settings),
        "pair": Regression("huber", delta=delta),
        "price": Regression("huber", delta=delta),
        "sort": Classification(**settings),
        "tags": MultiLabel(pos_weight=pos_weight),
        **heads,
    }
    fitted = {
        name: head.fit(Y[name], np.ones(Y[name].shape), normalize=True)
        for name, head in made.items()
    }
    module = build_module(MLP((n_units,)), fitted, 2, 0, torch.float64)
    module.taps = [tap] * len(fitted)
    objective = Objective(fitted, dict.fromkeys(fitted, 1.0), torch.float64)
    shapes = {name: head.raw_shape_ for name, head in fitted.items()}
    return find_layout(module, objective, shapes), module, objective


def test_heads_of_one_layer_share_a_matrix_and_the_others_have_their_own():
    layout, module, _ = make(deep=(3,))
    head = dict(zip(module.names, module.heads, strict=True))
    widths = {tuple(block.heads): n for block, n in zip(layout.blocks, layout.widths, strict=True)}
    joined = head["tags"], head["pair"], head["price"]
    assert widths == {(head["kind"],): 3, (head["sort"],): 3, joined: 5}


def test_groups_tell_where_the_raw_values_of_their_outputs_are():
    layout, module, _ = make(deep=(3,))
    x = torch.randn(N, 2, dtype=torch.float64)
    expected, features = module(x), module.trunk(x)
    raw = [
        torch.cat([head(features).reshape(N, -1) for head in block.heads], 1)
        for block in layout.blocks
    ]
    seen = []
    for group in layout.groups:
        parts = raw[group.block][:, group.columns].split(group.widths, 1)
        for name, part in zip(group.names, parts, strict=True):
            assert torch.equal(part.reshape(expected[name].shape), expected[name])
            seen.append(name)
    assert sorted(seen) == module.names


OWN = {
    "the same": [{}, {}, {}],
    "smoothing": [{"smoothing": s} for s in (0.0, 0.3, 0.1)],
    "positive weights": [{"pos_weight": w} for w in (1.0, [0.5, 4.0], [3.0, 0.0])],
    "both": [{"smoothing": 0.2, "pos_weight": 2.0}, {}, {"smoothing": 0.1}],
}


@pytest.mark.parametrize("name", OWN)
def test_a_stacked_layout_has_the_losses_of_each_network(name):
    made = [make(**settings) for settings in OWN[name]]
    together = stacked_layout([layout for layout, _, _ in made])
    generator = torch.Generator().manual_seed(0)
    for i, group in enumerate(together.groups):
        n_labels, n_raw = sum(group.label_widths), sum(group.widths)
        raw = torch.randn(N_MODELS, N, n_raw, dtype=torch.float64, generator=generator)
        weight = torch.rand(N_MODELS, N, n_labels, dtype=torch.float64, generator=generator)
        target = torch.randint(2, weight.shape, generator=generator)
        if group.formula.raw_per_label == 1:
            target = target.double()
        out = torch.empty_like(raw)
        group.formula.gradient(raw, out, *group.formula.prepare(target, weight))
        losses = group.formula.label_losses(raw, target)
        for k, (layout, _, objective) in enumerate(made):
            assert layout.groups[i].names == group.names
            expected, leaf = [], raw[k].clone().requires_grad_()
            parts = zip(
                leaf.split(group.widths, 1), target[k].split(group.label_widths, 1), strict=True
            )
            for output, (part, labels) in zip(group.names, parts, strict=True):
                loss = objective.losses[objective.names.index(output)]
                labels = labels[:, 0] if group.formula.raw_per_label > 1 else labels
                expected.append(loss(part, labels).reshape(N, -1))
            expected = torch.cat(expected, 1)
            torch.testing.assert_close(losses[k], expected.detach())
            gradient = torch.autograd.grad(expected, leaf, weight[k])[0]
            torch.testing.assert_close(out[k], gradient)


def test_stacking_leaves_the_layouts_of_the_networks_as_they_are():
    layouts = [make(smoothing=s, pos_weight=w)[0] for s, w in ((0.3, 2.0), (0.1, 4.0))]
    weight = flags = torch.ones(N, 2, dtype=torch.float64)
    classes = torch.zeros(N, 2, dtype=torch.int64)

    def prepared(layout):
        formulas = {tuple(group.names): group.formula for group in layout.groups}
        kinds = formulas["kind", "sort"].prepare(classes, weight)
        return [*kinds, *formulas[("tags",)].prepare(flags, weight)]

    before = prepared(layouts[0])
    together = stacked_layout(layouts)
    torch.testing.assert_close(prepared(layouts[0]), before, rtol=0, atol=0)
    assert together.blocks is layouts[0].blocks
    assert together.key == layouts[0].key


def test_layouts_have_one_key_if_networks_can_be_trained_side_by_side():
    key = make()[0].key
    for same in ({"smoothing": 0.3}, {"pos_weight": [0.5, 4.0]}, {"n_units": 7}):
        assert make(**same)[0].key == key
    for other in (
        {"delta": 0.5},
        {"deep": (3,)},
        {"tap": "low"},
        {"kind": Classification(label_smoothing=0.1)},  # no longer beside "sort"
        {"pair": Regression()},
        {"tags": Regression()},
        {"price": Regression(nn.HuberLoss())},
    ):
        assert make(**other)[0].key != key
