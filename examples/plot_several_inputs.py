"""
Several inputs and outputs, and a picture of the network
========================================================

A message is a sequence of word ids, and comes with three numbers: the hour, the age of the
sender's account, and the number of links. Both say whether it is spam. An LSTM reads the words;
what it makes of them is joined with the numbers, and dense layers decide.

An auxiliary output predicts the same from the words alone, so that the LSTM learns to read even
where the numbers would do. It is the network that Keras's guide to its functional interface draws.
"""

import matplotlib
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import Inputs, MultiOutputNet, Targets
from mtlearn.heads import Classification
from mtlearn.inspection import ArchitectureDisplay
from mtlearn.preprocessing import OnInput
from mtlearn.trunks import MLP, Embedding, Graph, Recurrent

# %%
# The messages are made up. Spam is what has many of the ids below 20, and many links.
rng = np.random.default_rng(0)
n_messages = 1500
words = rng.integers(1, 100, size=(n_messages, 12))
numbers = np.column_stack(
    [rng.uniform(0, 24, n_messages), rng.exponential(300, n_messages), rng.poisson(2, n_messages)]
)
is_spam = (words < 20).mean(axis=1) * 10 + numbers[:, 2] + rng.normal(size=n_messages) > 5

X = Inputs({"words": words, "numbers": numbers})
y = Targets({"spam": np.where(is_spam, "spam", "ham")})
X, X_test, y, y_test = train_test_split(X, y, random_state=0)
print(X)

# %%
# Each stage has a name, a part, and what it takes. Heads attach to stages by name.
net = make_pipeline(
    OnInput("numbers", StandardScaler()),
    MultiOutputNet(
        trunk=Graph(
            [
                ("embed", Embedding(100, 16), "words"),
                ("lstm", Recurrent(16), "embed"),
                ("dense", MLP((32, 32)), ["lstm", "numbers"]),
            ]
        ),
        heads={
            "spam": Classification(at="dense"),
            "spam_by_words": Classification(at="lstm", target="spam"),
        },
        loss_weights={"spam_by_words": 0.2},
        main_output="spam",
        learning_rate=3e-3,
        max_epochs=15,
        random_state=0,
    ),
).fit(X, y)
print(f"accuracy on new messages: {net.score(X_test, y_test):.3f}")

# %%
# The summary says of each stage what it takes, how large it is, and which outputs train it.
summary = net[-1].summary()
print(summary.drop(columns=["kind", "part"]).to_string())

# %%
# The same as a picture. Each output has a colour, and under a stage are the colours of the outputs
# that train it: the auxiliary output reaches the LSTM and the embedding, but not the dense layers.
if not matplotlib.is_interactive():
    matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

ArchitectureDisplay.from_estimator(net)
plt.show()

# %%
# In production the words may come before the numbers do. The network of the auxiliary output alone
# is smaller, and predicts what it did before, bit for bit.
early = net[-1].set_params(main_output=None).drop_outputs(["spam"])
print(early.summary()["n_parameters"].sum(), "of", summary["n_parameters"].sum(), "parameters")
ArchitectureDisplay.from_estimator(early)
plt.show()
