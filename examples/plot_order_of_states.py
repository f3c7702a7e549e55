"""
A memory that keeps the order of events
=======================================

An agent sees one cell of a grid after the other. To tell which of two cells it visited first, it
needs a memory of the walk: the two cells alone do not say, since the walk is as likely backwards as
forwards. This question has labels that cost nothing, and is a good auxiliary output for a recurrent
network whose main output has few labels, or rewards.
"""

import matplotlib
import numpy as np

from mtlearn import MultiOutputNet
from mtlearn.datasets import make_grid_walks, make_order_pairs
from mtlearn.heads import Classification, PairOrder
from mtlearn.inspection import ArchitectureDisplay
from mtlearn.trunks import Embedding, Graph, Recurrent

# %%
# Walks of 16 steps on 5 x 5 cells, and five pairs of steps of each. A row is a walk, the positions
# of two of its steps, and whether they are shown in the order in which they happened.
walks = make_grid_walks(2500, random_state=0)
X, y = make_order_pairs(walks[:2000], n_pairs=5, random_state=0)
X_test, y_test = make_order_pairs(walks[2000:], n_pairs=5, random_state=1)
print(X)

# %%
# "take" takes the steps at these positions from the embedded walk, and the head gets both and the
# memory. A second head gets the two steps only.
net = MultiOutputNet(
    trunk=Graph(
        [
            ("embed", Embedding(25, 16, padding_id=None, scale=1.0), "states"),
            ("memory", Recurrent(32, "gru"), "embed"),
            ("pair", "take", ["embed", "pair_steps"]),
        ]
    ),
    heads={
        "in_order": PairOrder(at=["pair", "memory"]),
        "without_memory": PairOrder(at="pair", target="in_order"),
    },
    learning_rate=5e-3,
    max_epochs=12,
    alpha=0,
    random_state=0,
).fit(X, y)
for name, score in net.scores(X_test, y_test).items():
    print(f"{name}: {score:.3f} of the pairs in the right order")

# %%
# Nobody who knows the whole walk can be right in more than about 82 % of the pairs: some are the
# same cell twice, and many cells were visited more than once.
if not matplotlib.is_interactive():
    matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

ArchitectureDisplay.from_estimator(net)
plt.show()

# %%
# Beside a main output, here the row of the grid where the walk was after its first half, the order
# of events costs a weight of its own. Where it is dropped, what only it needs goes too.
halfway = np.repeat(walks[:2000, 7] // 5, 5)
both = net.set_params(
    heads={
        "halfway": Classification(at="memory"),
        "in_order": PairOrder(at=["pair", "memory"]),
    },
    loss_weights={"in_order": 0.1},
    main_output="halfway",
    max_epochs=3,
).fit(X, {**y, "halfway": halfway})
alone = both.drop_outputs(["in_order"])
print(list(alone.summary().index))
