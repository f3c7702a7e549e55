"""
Heads at two depths of your own network
=======================================

Any torch module is a trunk. One that returns a dict of named tensors lets every head say, with
``at=``, which tensor it starts from. Here the auxiliary output sits on the lower layer: it trains
that layer, and leaves the upper one to the main output.
"""

import matplotlib
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from mtlearn import MultiOutputNet, Targets
from mtlearn.heads import Classification, Regression

# %%
# The module says how wide its layers are; how many features it gets, it is told.
data = load_breast_cancer()
names = list(data.feature_names)
X = StandardScaler().fit_transform(data.data[:, :10])
y = Targets(
    {
        "diagnosis": data.target_names[data.target],
        "worst_area": data.data[:, names.index("worst area")],
    }
)
X, X_test, y, y_test = train_test_split(X, y, random_state=0, stratify=y["diagnosis"])


class TwoLevels(nn.Module):
    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.lower = nn.Sequential(nn.Linear(n_features, 32), nn.ReLU())
        self.upper = nn.Sequential(nn.Linear(32, 16), nn.ReLU())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        lower = self.lower(x)
        return {"lower": lower, "upper": self.upper(lower)}


net = MultiOutputNet(
    trunk=TwoLevels,
    heads={
        "diagnosis": Classification(at="upper"),
        "worst_area": Regression(at="lower", loss="huber"),
    },
    main_output="diagnosis",
    random_state=0,
).fit(X, y)
print({name: round(score, 3) for name, score in net.scores(X_test, y_test).items()})

# %%
# Which output trains which layer can be asked of the network itself: the gradient of one output's
# raw values is zero for every layer that is not below its head.
raw = net.module_(torch.tensor(X))
layers = {"lower": net.module_.trunk.lower, "upper": net.module_.trunk.upper}
for output, values in raw.items():
    trained = []
    for layer, module in layers.items():
        gradients = torch.autograd.grad(
            values.sum(), list(module.parameters()), retain_graph=True, allow_unused=True
        )
        if any(gradient is not None for gradient in gradients):
            trained.append(layer)
    print(f"{output} trains {trained}")

# %%
# ``embed`` gives what a head sees. The first two principal axes of the upper layer already part the
# diagnoses; the auxiliary head is no longer needed, and dropped.
small = net.drop_outputs(["worst_area"])
upper = small.embed(X_test, at="upper")
_, _, axes = np.linalg.svd(upper - upper.mean(axis=0), full_matrices=False)
points = (upper - upper.mean(axis=0)) @ axes[:2].T

if not matplotlib.is_interactive():
    matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

fig, ax = plt.subplots(figsize=(5, 4), layout="constrained")
for diagnosis in small.classes_["diagnosis"]:
    ax.scatter(*points[y_test["diagnosis"] == diagnosis].T, s=12, label=diagnosis)
ax.set(title="the layer that the diagnosis is read from", xlabel="axis 1", ylabel="axis 2")
ax.legend()
plt.show()
