"""
Auxiliary targets for an ordinary classifier
============================================

``MultiOutputNetClassifier`` takes and gives plain arrays, and works wherever scikit-learn wants a
classifier. Auxiliary targets come as fit metadata, ``aux=``: scikit-learn splits them with the
rows, and they shape the network in training only.
"""

import matplotlib
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNetClassifier, Targets

# %%
# The diagnosis is to be told from five of the thirty measurements; two of the others are known for
# the training rows, and serve as auxiliary targets.
data = load_breast_cancer()
names = list(data.feature_names)
X = data.data[:, :5]
y = data.target_names[data.target]
aux = Targets(
    {
        "concavity": data.data[:, names.index("mean concavity")],
        "worst_area": data.data[:, names.index("worst area")],
    }
)
classifier = Pipeline(
    [("scale", StandardScaler()), ("net", MultiOutputNetClassifier(random_state=0))]
)

# %%
# The weights of both are searched together, with weight 0 among the candidates.
grid = {
    "net__loss_weights__concavity": [0, 0.3, 1],
    "net__loss_weights__worst_area": [0, 0.3, 1],
}
search = GridSearchCV(classifier, grid, scoring="neg_log_loss", cv=3, n_jobs=2)
search.fit(X, y, net__aux=aux)
scores = search.cv_results_["mean_test_score"].reshape(3, 3)
print(np.round(scores, 4))
print(search.best_params_)

# %%
# Tools that know nothing of auxiliary targets pass them on. These are the probabilities of rows
# that the classifier has not seen.
probabilities = cross_val_predict(
    search.best_estimator_, X, y, cv=3, method="predict_proba", params={"net__aux": aux}
)
print(f"log-loss {log_loss(y, probabilities):.4f}")

if not matplotlib.is_interactive():
    matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

fig, ax = plt.subplots(figsize=(4.5, 4), layout="constrained")
image = ax.imshow(-scores, cmap="viridis_r")
for (i, j), score in np.ndenumerate(scores):
    ax.text(j, i, f"{-score:.3f}", ha="center", va="center", color="white")
ax.set(
    xticks=range(3),
    yticks=range(3),
    xticklabels=grid["net__loss_weights__worst_area"],
    yticklabels=grid["net__loss_weights__concavity"],
    xlabel="weight of worst_area",
    ylabel="weight of concavity",
    title="log-loss of the diagnosis, 3 folds",
)
plt.show()
