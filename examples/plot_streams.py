"""
A stream whose features come and go
===================================

A machine reports twelve sensors, seldom all of them at once: some are built in later, others are
taken out or away for repair, and single values get lost. Each row is to be predicted as it comes:
the state of the machine, and how many hours its bearing will last. Labels are known later, and
three in ten are never known. In the middle of the stream the machine is rebuilt, and the sensors
mean something else.
"""

import matplotlib
import numpy as np

from mtlearn import OnlineMultiOutputNet, Targets
from mtlearn.datasets import withhold_features
from mtlearn.heads import Classification, Regression
from mtlearn.inspection import PrequentialDisplay
from mtlearn.model_selection import prequential

# %%
# The sensors measure four things that cannot be seen, several sensors each, in units of their own.
# At first it counts whether two of these things agree, which no linear model can tell, and a third;
# after the rebuilding, a difference, in which the third has the opposite sign.
N_ROWS, REBUILT = 4000, 2000
rng = np.random.default_rng(0)
hidden = rng.normal(size=(N_ROWS, 4))
sensors = hidden @ rng.normal(size=(4, 12)) + 0.3 * rng.normal(size=(N_ROWS, 12))
sensors = 50 + sensors * 10 ** rng.uniform(-2, 2, 12)
before = np.arange(N_ROWS) < REBUILT
signal = np.where(before, hidden[:, 0] * hidden[:, 1] + hidden[:, 2], hidden[:, 3] - hidden[:, 2])
hours = 1000 + 200 * signal + 50 * rng.normal(size=N_ROWS)
state = np.where(signal + 0.3 * rng.normal(size=N_ROWS) > 0.5, "warm", "fine").astype(object)
state[rng.random(N_ROWS) < 0.3] = None
y = Targets({"state": state, "hours": hours})

# %%
# A third of the sensors vanishes for good, a third is away for a while, a third comes later; of
# what is left, one value in ten is lost.
X = withhold_features(sensors, "obsolete", random_state=0)
X = withhold_features(X, "variable", p=0.9, random_state=0)
print(
    f"{np.isfinite(X).mean():.0%} of the values are there, and all twelve in "
    f"{np.isfinite(X).all(axis=1).mean():.1%} of the rows"
)

# %%
# ``prequential`` predicts each row before it is learned. Where a stream changes, it is worth while
# to forget: with 0.998 about the last 500 rows count. (``batch_size`` is how many rows are
# predicted and learned at a time: 1 by default, which is slower.)
net = OnlineMultiOutputNet(
    heads={"state": Classification(), "hours": Regression()},
    missing_targets="ignore",
    random_state=0,
)
results = {}
for forgetting in (1.0, 0.998):
    net.set_params(forgetting=forgetting)
    results[forgetting] = prequential(net, X, y, batch_size=10, window=300)
    scores = results[forgetting].metrics
    print(
        f"forgetting={forgetting}: accuracy of the state {scores['state']['accuracy']:.3f}, "
        f"mean error of the hours {scores['hours']['mae']:.0f}"
    )

# %%
# For comparison: what the best constants would have made, chosen with all labels known.
known = state[state != None]  # noqa: E711
print(
    f"constants: accuracy {max((known == kind).mean() for kind in ('fine', 'warm')):.3f}, "
    f"mean error {np.abs(hours - np.median(hours)).mean():.0f}"
)

# %%
# The curves tell when it learned what. Before the rebuilding the hidden layers have the weight, for
# a product is no sum. After it, errors rise and fall again, and the hours go over to the linear
# experts: a difference is all there is to learn.
if not matplotlib.is_interactive():
    matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

display = PrequentialDisplay.from_result(results[0.998])
for ax in display.axes_:
    ax.axvline(REBUILT, color="0.3", linestyle=":", linewidth=1)
display.figure_.suptitle("The machine is rebuilt at the dotted line")
plt.show()

# %%
# A sensor that is built in today needs a name only; the rows are dicts, or frames, then.
names = [f"sensor {i}" for i in range(12)]
named = OnlineMultiOutputNet(random_state=0)
for row, label in zip(X[:300], hours[:300], strict=True):
    named.learn_one({n: v for n, v in zip(names, row, strict=True) if np.isfinite(v)}, label)
named.learn_one({"sensor 0": 51.0, "new sensor": 3.2}, 990.0)
print(named.n_features_in_, round(named.predict_one({"new sensor": 3.0, "sensor 0": 50.0})))
