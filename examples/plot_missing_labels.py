"""
Missing labels in a DataFrame
=============================

Labels come from different places and at different cost, so that few rows have all of them. Here
a laboratory has measured the alcohol of every second wine, and a grower has named the cultivar of
every fourth. Dropping incomplete rows would leave one wine in eight; with
``missing_targets="ignore"`` every row teaches the network what is known of it.
"""

import matplotlib
import numpy as np
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, Targets
from mtlearn.heads import Classification

# %%
# The rows and the targets are two DataFrames.
data = load_wine(as_frame=True)
X = data.data.drop(columns="alcohol")
y = data.data[["alcohol"]].assign(cultivar=data.target_names[data.target])
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0)

rng = np.random.default_rng(0)
observed = y.copy()
observed.loc[rng.random(len(y)) > 1 / 2, "alcohol"] = np.nan
observed.loc[rng.random(len(y)) > 1 / 4, "cultivar"] = None
print(Targets.from_frame(observed))
print(f"{len(observed.dropna())} of {len(observed)} rows are complete")

# %%
# A missing label is an error by default, so that none is overlooked.
net = make_pipeline(StandardScaler(), MultiOutputNet(main_output="alcohol", random_state=0))
try:
    net.fit(X, observed)
except ValueError as error:
    print(error)

# %%
# With ``missing_targets="ignore"`` each output learns from the rows that have its label. The loss
# of an output is the mean over its observed labels, so that scarce labels count as much as others.
# A fold or a training set may lack a class; declaring all of them keeps the columns of
# ``predict_proba``.
heads = {"cultivar": Classification(classes=data.target_names)}
net.set_params(multioutputnet__missing_targets="ignore", multioutputnet__heads=heads)
everything = net.fit(X, observed).predict(X_test)

complete = observed.dropna()
only_complete = net.fit(X.loc[complete.index], complete).predict(X_test)


def errors(predicted: Targets) -> tuple[float, float]:
    """Return the mean absolute error of alcohol, and the share of wrong cultivars."""
    return (
        float(np.abs(predicted["alcohol"] - y_test["alcohol"]).mean()),
        float((predicted["cultivar"] != y_test["cultivar"]).mean()),
    )


print(f"{'trained on':<16}{'error of alcohol':>18}{'wrong cultivars':>18}")
for title, predicted in (("all rows", everything), ("complete rows", only_complete)):
    alcohol, cultivar = errors(predicted)
    print(f"{title:<16}{alcohol:>18.3f}{cultivar:>18.1%}")

# %%
# The predictions are Targets again, and become a DataFrame when one is wanted.
print(everything.to_frame().head())

if not matplotlib.is_interactive():
    matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

fig, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained", sharex=True, sharey=True)
for ax, title, predicted in zip(
    axes, ("all rows", "complete rows"), (everything, only_complete), strict=True
):
    right = predicted["cultivar"] == y_test["cultivar"]
    for flag, color, label in ((True, "C0", "cultivar right"), (False, "C3", "cultivar wrong")):
        rows = (right == flag).to_numpy()
        ax.scatter(y_test["alcohol"][rows], predicted["alcohol"][rows], color=color, label=label)
    ax.axline((13, 13), slope=1, color="0.7", zorder=0)
    ax.set(title=f"trained on {title}", xlabel="alcohol", ylabel="predicted alcohol")
axes[0].legend()
plt.show()
