"""
Two targets in one fit
======================

Twelve chemical measurements of 178 wines are given, and two things are wanted from them: the
wine's **alcohol**, a number, and its **cultivar**, one of three classes. One network learns both.

Say that alcohol is what matters, and the cultivar is known for the training wines only. It is
then an auxiliary target, and its weight in the loss is chosen by a grid search over a whole
Pipeline. The winner is saved with joblib, and the loss of each output is drawn.
"""

from pathlib import Path

import joblib
import matplotlib
import numpy as np
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, Targets

# %%
# Targets is a dict that scikit-learn can split by rows. A plain dict would do for ``fit``, but not
# for ``train_test_split`` and the grid search.
data = load_wine()
X = np.delete(data.data, data.feature_names.index("alcohol"), axis=1)
y = Targets(
    {
        "alcohol": data.data[:, data.feature_names.index("alcohol")],
        "cultivar": data.target_names[data.target],
    }
)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, random_state=0, stratify=y["cultivar"]
)
print(y_train)


# %%
# One network learns both. It is the last step of an ordinary Pipeline, and ``main_output`` says
# whose score is the Pipeline's.
def make_net(main_output: str) -> Pipeline:
    net = MultiOutputNet(main_output=main_output, random_state=0)
    return Pipeline([("scale", StandardScaler()), ("net", net)])


both = make_net("alcohol").fit(X_train, y_train)
both_scores = both["net"].scores(both["scale"].transform(X_test), y_test)

print("\nscores on the test rows (R2 for numbers, accuracy for classes)")
print(f"{'':<12}{'one net for both':>18}{'a net for each':>18}")
for name in y:
    alone = make_net(name).fit(X_train, y_train[[name]])
    print(f"{name:<12}{both_scores[name]:>18.3f}{alone.score(X_test, y_test[[name]]):>18.3f}")

# %%
# How much should the cultivar count? ``loss_weights__cultivar`` is a parameter like any other. The
# score of the search is that of the main output. Weight 0 is the control: the auxiliary output is
# then left out of the training altogether.
search = GridSearchCV(
    make_net("alcohol"), {"net__loss_weights__cultivar": [0, 0.3, 1, 3, 10]}, cv=5, n_jobs=2
)
search.fit(X_train, y_train)

print("\nweight of cultivar -> R2 of alcohol, mean and deviation over 5 folds")
for params, mean, std in zip(
    search.cv_results_["params"],
    search.cv_results_["mean_test_score"],
    search.cv_results_["std_test_score"],
    strict=True,
):
    print(f"{params['net__loss_weights__cultivar']:>20}    {mean:.3f} +- {std:.3f}")
# %%
# The folds differ by more than the weights do, and the test rows are few: the gain is a reason to
# look further, not a proof.
print(f"chosen: {search.best_params_}, on the test rows {search.score(X_test, y_test):.3f}")

# %%
# The winner goes through a joblib file and predicts the same, bit for bit.
folder = Path("examples/output" if Path("examples").is_dir() else "output")
folder.mkdir(exist_ok=True)
path = folder / "main_job.joblib"
joblib.dump(search.best_estimator_, path)
loaded = joblib.load(path)
assert loaded.predict(X_test) == search.predict(X_test)
print(f"\nsaved and loaded {path.name}, {path.stat().st_size / 1000:.0f} kB: same predictions")

# %%
# The history has one row per epoch, in Keras's names: the total ``loss``, each output's unweighted
# loss, its weight, and the penalty. A loss of 1 is that of the best constant.
if not matplotlib.is_interactive():
    matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
history = both["net"].history_
epochs = np.arange(1, len(history) + 1)
for column in ("loss", "alcohol_loss", "cultivar_loss", "penalty"):
    ax.plot(epochs, [row[column] for row in history], label=column)
ax.set(xlabel="epoch", ylabel="loss on the training rows", yscale="log")
ax.legend()
fig.savefig(folder / "main_job.png", dpi=120)
print(f"drew the loss curves to {folder / 'main_job.png'}")
plt.show()
