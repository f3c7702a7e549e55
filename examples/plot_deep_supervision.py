"""
Auxiliary classifiers on an Inception network
=============================================

GoogLeNet has classifiers on two of its inner stages. They learn the same classes as the last one,
with the weight 0.3, and are dropped once the network is trained. Here is a small one for the digits
of scikit-learn, whose auxiliary weights fall to 0 while it learns, as in deeply supervised nets.
"""

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from mtlearn import Inputs, MultiOutputNet, Targets
from mtlearn.heads import Classification
from mtlearn.inspection import ArchitectureDisplay
from mtlearn.trunks import MLP, Convolution, Graph, Inception, Pool
from mtlearn.weighting import Linear

digits = load_digits()
X = Inputs({"image": (digits.images[..., None] / 16).astype(np.float32)})
y = Targets({"digit": digits.target})
X, X_test, y, y_test = train_test_split(X, y, stratify=digits.target, random_state=0)

# %%
# Images have their channels last. Each stage takes what another makes, and "early" and "middle" are
# classifiers on the first two of three Inception blocks, each with a dense layer of its own.
net = MultiOutputNet(
    trunk=Graph(
        [
            ("stem", Convolution(16, normalization="batch"), "image"),
            ("block_1", Inception(), "stem"),
            ("half", Convolution(32, normalization="batch", pool_size=2), "block_1"),
            ("block_2", Inception(), "half"),
            ("quarter", Convolution(32, normalization="batch", pool_size=2), "block_2"),
            ("block_3", Inception(), "quarter"),
            ("end", Pool(), "block_3"),
            ("row_1", Pool("flatten"), "block_1"),
            ("dense_1", MLP((32,)), "row_1"),
            ("row_2", Pool("flatten"), "block_2"),
            ("dense_2", MLP((32,)), "row_2"),
        ]
    ),
    heads={
        "digit": Classification(at="end"),
        "early": Classification(at="dense_1", target="digit"),
        "middle": Classification(at="dense_2", target="digit"),
    },
    loss_weights={"early": Linear(0.3, epochs=8), "middle": Linear(0.3, epochs=8)},
    main_output="digit",
    batch_size=64,
    learning_rate=3e-3,
    max_epochs=10,
    alpha=0,
    random_state=0,
).fit(X, y)

# %%
# The gradient of a classifier on an inner stage reaches that stage and those before it, no other.
if not matplotlib.is_interactive():
    matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

ArchitectureDisplay.from_estimator(net)
plt.show()

# %%
# The weights that each epoch was trained at are in the history, and so are the losses.
for row in net.history_[::3]:
    print({name: round(row[name], 3) for name in ("early_weight", "early_loss", "digit_loss")})
print({name: round(score, 3) for name, score in net.scores(X_test, y_test).items()})

# %%
# Without the auxiliary outputs the network is smaller, and predicts the same, bit for bit.
smaller = net.drop_outputs(["early", "middle"])
assert np.array_equal(smaller.predict(X_test)["digit"], net.predict(X_test)["digit"])
counts = [int(one.summary()["n_parameters"].sum()) for one in (net, smaller)]
print(f"{counts[0]:,} parameters, {counts[1]:,} without the auxiliary outputs")
ArchitectureDisplay.from_estimator(smaller)
plt.show()
