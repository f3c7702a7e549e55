"""
A log-scaled target
===================

``TransformedTargetRegressor`` transforms one ``y`` outside the network, which several named targets
rule out. A head has its own transformer instead: the network learns the transformed target, and
predictions come back on the original scale.
"""

import matplotlib
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mtlearn import MultiOutputNet, Targets
from mtlearn.heads import Regression

# %%
# Areas are spread over two orders of magnitude. On their own scale a few large ones make most of
# the squared error; on the log scale every area counts by its relative error.
data = load_breast_cancer()
names = list(data.feature_names)
X = StandardScaler().fit_transform(data.data[:, [names.index("mean texture"), 4, 5, 6, 7, 8, 9]])
y = Targets(
    {
        "area": data.data[:, names.index("mean area")],
        "diagnosis": data.target_names[data.target],
    }
)
X, X_test, y, y_test = train_test_split(X, y, random_state=0)

log = FunctionTransformer(np.log, inverse_func=np.exp)
predicted = {}
for title, head in (("plain", Regression()), ("log", Regression(transformer=log))):
    net = MultiOutputNet(heads={"area": head}, early_stopping=True, random_state=0).fit(X, y)
    predicted[title] = net.predict(X_test)["area"]
    relative = np.abs(predicted[title] / y_test["area"] - 1)
    print(f"{title:<6} median relative error {np.median(relative):.3f}")

# %%
# A transformer without an inverse could not map predictions back, and is refused at once.
try:
    MultiOutputNet(heads={"area": Regression(transformer=FunctionTransformer(np.log))}).fit(X, y)
except ValueError as error:
    print(error)

if not matplotlib.is_interactive():
    matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

fig, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained", sharex=True, sharey=True)
for ax, (title, values) in zip(axes, predicted.items(), strict=True):
    ax.scatter(y_test["area"], values, s=12)
    ax.axline((500, 500), (1000, 1000), color="0.7", zorder=0)
    ax.set(xscale="log", yscale="log", title=title, xlabel="area", ylabel="predicted area")
plt.show()
