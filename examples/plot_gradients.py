"""
What an auxiliary output does to each layer
===========================================

Two pictures answer two questions. How much of each layer's update comes from which output? And does
the auxiliary output help the main one? The network reads texts of six words and two numbers. Its
main output says whether a reader clicks, and an auxiliary output on the LSTM predicts a rating of
the text's mood. A second auxiliary output, "luck", has the same ratings in a random order: what can
be said of it is what can be said of noise.
"""

import matplotlib
import numpy as np

from mtlearn import Inputs, MultiOutputNet, Targets
from mtlearn.heads import Classification, Regression
from mtlearn.inspection import AuxiliaryEffectDisplay, GradientFlowDisplay, gradient_report
from mtlearn.trunks import MLP, Embedding, Graph, Recurrent

if not matplotlib.is_interactive():
    matplotlib.use("agg")
import matplotlib.pyplot as plt

# %%
# The data are made up. Each word has a value, their sum is the tone of a text, mood is the tone
# with noise, and a click depends on the tone and on one of the two numbers.
rng = np.random.default_rng(0)
words, extra = rng.integers(1, 41, size=(400, 6)), rng.normal(size=(400, 2))
tone = rng.normal(size=41)[words].sum(axis=1) / np.sqrt(6)
mood = tone + 0.3 * rng.normal(size=400)
clicks = tone + extra[:, 0] + 0.3 * rng.normal(size=400) > 0
X = Inputs({"words": words, "extra": extra})
y = Targets(
    {"click": np.where(clicks, "yes", "no"), "mood": mood, "luck": rng.permutation(mood)},
)

net = MultiOutputNet(
    trunk=Graph(
        [
            ("embed", Embedding(41, 8), "words"),
            ("lstm", Recurrent(8), "embed"),
            ("dense", MLP((16, 16)), ["lstm", "extra"]),
        ]
    ),
    heads={
        "click": Classification(at="dense"),
        "mood": Regression(at="lstm"),
        "luck": Regression(at="lstm"),
    },
    loss_weights={"mood": 1.0, "luck": 0.2},
    main_output="click",
    learning_rate=0.01,
    batch_size=100,
    max_epochs=20,
    random_state=0,
).fit(X, y)

# %%
# The auxiliary outputs reach the layers below their place, and no others: a dash is where there is
# no way for a gradient. The numbers of a row add up to 100, with the part of the penalty.
report = gradient_report(net, X, y)
print(report.explain().replace(". ", ".\n"))
GradientFlowDisplay.from_report(report)
plt.show()

# %%
# A large share is not yet a good one. Whether an output helps is asked of other rows: with each of
# its weights the net is fitted on the same splits as without it. A filled point is sure, as its
# interval does not hold 0.
display = AuxiliaryEffectDisplay.from_estimator(
    net, X, y, {"mood": [0.3, 1], "luck": [1]}, random_state=0
)
print(display.effect.explain().replace(". ", ".\n"))
plt.show()
