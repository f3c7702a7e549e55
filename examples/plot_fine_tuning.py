"""
Train with auxiliary outputs, then fine-tune the main head
==========================================================

Auxiliary labels are often at hand where main labels are scarce. Here all rows have the auxiliary
ones and a few have the main one. A first net learns all of them; its trunk is then frozen, and a
second net trains the main head alone on top of it.
"""

import copy

import matplotlib
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, Targets
from mtlearn.heads import Classification

# %%
# Thirty of the training rows have a diagnosis; the worst radius and texture are known for all.
data = load_breast_cancer()
names = list(data.feature_names)
X = StandardScaler().fit_transform(data.data[:, :10])
y = Targets(
    {
        "diagnosis": data.target_names[data.target].astype(object),
        "worst_radius": data.data[:, names.index("worst radius")],
        "worst_texture": data.data[:, names.index("worst texture")],
    }
)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.4, random_state=0)
diagnosis = y["diagnosis"].copy()
diagnosis[30:] = None
scarce = Targets({**y, "diagnosis": diagnosis})

together = MultiOutputNet(missing_targets="ignore", main_output="diagnosis", random_state=0).fit(
    X, scarce
)

# %%
# The trained trunk is the template of the second net's. Parameters that need no gradient stay as
# they are, so that only the new head learns, whose features the auxiliary labels have made.
trunk = copy.deepcopy(together.module_.trunk)
for parameter in trunk.parameters():
    parameter.requires_grad_(False)
heads = {"diagnosis": Classification()}
labelled = Targets({"diagnosis": diagnosis[:30]})
tuned = MultiOutputNet(trunk=trunk, heads=heads, learning_rate=0.01, random_state=0)
tuned.fit(X[:30], labelled)
alone = MultiOutputNet(heads=heads, random_state=0).fit(X[:30], labelled)
np.testing.assert_array_equal(tuned.embed(X_test), together.embed(X_test))

# %%
# The auxiliary labels help. Whether a head of its own helps further is a question for the test
# rows: here the one that was trained with the others is better.
test = y_test[["diagnosis"]]
accuracies = {
    "main labels alone": alone.score(X_test, test),
    "with auxiliary labels": together.score(X_test, y_test),
    "then the main head": tuned.score(X_test, test),
}
for title, accuracy in accuracies.items():
    print(f"{title:<24}{accuracy:.3f}")

if not matplotlib.is_interactive():
    matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

fig, ax = plt.subplots(figsize=(6, 2.5), layout="constrained")
bars = ax.barh(list(accuracies), list(accuracies.values()))
ax.bar_label(bars, fmt="%.3f", padding=3)
ax.set(xlim=(0.8, 1), xlabel="accuracy of the diagnosis on the test rows")
ax.invert_yaxis()
plt.show()
