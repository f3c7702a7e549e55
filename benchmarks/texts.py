"""Spam among short messages: the network of Keras's functional guide, beside Keras itself.

Usage: python benchmarks/texts.py [--quick] [--write]

The words of a message go through an embedding and an LSTM, five numbers join in, and three dense
layers follow: 5,200,738 parameters. An auxiliary output at the LSTM learns the same label. The data
is sms_spam.csv in ../shared/data, or in the folder that MTLEARN_DATA names: 5,574 messages, 13 % of
them spam. 20 % are for testing, stratified, by the seeds 0 to 2; a search takes the weight of the
auxiliary output that has the best F1 in three folds of the training rows. Number of epochs,
schedule and words were chosen on validation rows of splits by other seeds.

Keras gets the same ids and numbers, weight 0.2, epochs, rows per step and optimizer; its LSTM skips
padding too (`mask_zero`), which the guide's does not; the time without it is given beside. A time
is that of one epoch, after one that compiles, each library on one thread and in turns; a ratio is
that of the medians, with the least and the largest of the rounds. F1 is that of spam.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from _timing import arguments, in_turns, number, one_thread, ratio, seconds_of, table, write

one_thread()
os.environ |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import accuracy_score, f1_score  # noqa: E402
from sklearn.model_selection import GridSearchCV, train_test_split  # noqa: E402
from sklearn.pipeline import Pipeline, make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from mtlearn import Inputs, MultiOutputNet, Targets  # noqa: E402
from mtlearn.heads import Classification  # noqa: E402
from mtlearn.model_selection import make_output_scorer  # noqa: E402
from mtlearn.preprocessing import OnInput, Tokenizer  # noqa: E402
from mtlearn.trunks import MLP, Embedding, Graph, Recurrent  # noqa: E402

DATA = Path(os.environ.get("MTLEARN_DATA", "../shared/data"))
N_PARAMETERS = 5_200_738
N_IDS, N_STEPS, N_NUMBERS = 10_000, 100, 5
BATCH_SIZE = 32
WEIGHT = 0.2
MAIN, AUX = "main_output", "aux_output"
OURS, KERAS, GUIDE = "mtlearn", "Keras on JAX", "the same without a mask"


def our_net(n_epochs: int, seed: int) -> Pipeline:
    """Return the network behind what prepares its inputs."""
    trunk = Graph(
        [
            ("embed", Embedding(N_IDS, 512), "main_input"),
            ("lstm", Recurrent(32), "embed"),
            ("dense", MLP((64, 64, 64)), ["lstm", "aux_input"]),
        ]
    )
    net = MultiOutputNet(
        trunk,
        {MAIN: Classification(at="dense"), AUX: Classification(at="lstm", target=MAIN)},
        loss_weights={AUX: WEIGHT},
        main_output=MAIN,
        alpha=0,
        batch_size=BATCH_SIZE,
        learning_rate_schedule="cosine",
        max_epochs=n_epochs,
        dtype="float32",
        random_state=seed,
    )
    words = Tokenizer(max_tokens=N_IDS, max_length=N_STEPS, token_pattern=r"\w+|[^\w\s]")
    return make_pipeline(OnInput("main_input", words), OnInput("aux_input", StandardScaler()), net)


def keras_net(seed: int, *, mask_zero: bool = True) -> Any:
    """Return the guide's network."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    ids = keras.Input((N_STEPS,), dtype="int32", name="main_input")
    numbers = keras.Input((N_NUMBERS,), name="aux_input")
    state = layers.LSTM(32)(layers.Embedding(N_IDS, 512, mask_zero=mask_zero)(ids))
    h = layers.concatenate([state, numbers])
    for _ in range(3):
        h = layers.Dense(64, "relu")(h)
    outputs = {
        MAIN: layers.Dense(1, "sigmoid", name=MAIN)(h),
        AUX: layers.Dense(1, "sigmoid", name=AUX)(state),
    }
    model = keras.Model({"main_input": ids, "aux_input": numbers}, outputs)
    losses = dict.fromkeys(outputs, "binary_crossentropy")
    model.compile(keras.optimizers.Adam(1e-3), losses, loss_weights={MAIN: 1.0, AUX: WEIGHT})
    return model


def fit_keras(model: Any, X: Inputs, y: np.ndarray, n_epochs: int) -> None:
    """Train on ids and standardised numbers."""
    labels = dict.fromkeys((MAIN, AUX), y.astype(np.float32))
    model.fit(as_float32(X), labels, batch_size=BATCH_SIZE, epochs=n_epochs, verbose=0)


def as_float32(X: Inputs) -> dict[str, np.ndarray]:
    """Return the inputs in Keras's types."""
    return {
        "main_input": X["main_input"].astype(np.int32),
        "aux_input": X["aux_input"].astype(np.float32),
    }


def keras_labels(model: Any, X: Inputs) -> dict[str, np.ndarray]:
    """Return the predicted labels of both outputs."""
    return {
        name: (chances[:, 0] > 0.5).astype(int)
        for name, chances in model.predict(as_float32(X), verbose=0).items()
    }


def predictions(
    X: Inputs, y: np.ndarray, X_test: Inputs, n_epochs: int, seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """Return what every model predicts of the test rows."""
    words = TfidfVectorizer(ngram_range=(1, 2))
    linear = make_pipeline(words, LogisticRegression(C=10, class_weight="balanced"))
    linear.fit(X["main_input"], y)
    found = {"tf-idf and LogisticRegression": {MAIN: linear.predict(X_test["main_input"])}}

    targets = Targets({MAIN: y})
    net = our_net(n_epochs, seed)
    found[f"{OURS}, weight {WEIGHT}"] = net.fit(X, targets).predict(X_test)
    n_parameters = sum(p.numel() for p in net[-1].module_.parameters())
    assert n_parameters == N_PARAMETERS, n_parameters

    grid = {"multioutputnet__loss_weights__aux_output": [0, WEIGHT, 1]}
    search = GridSearchCV(
        our_net(n_epochs, seed), grid, scoring=make_output_scorer(MAIN, "f1"), cv=3
    )
    found[f"{OURS}, weight searched"] = search.fit(X, targets).predict(X_test)
    print(f"seed {seed}: {search.best_params_} {search.cv_results_['mean_test_score'].round(4)}")

    model = keras_net(seed)
    fit_keras(model, net[:-1].transform(X), y, n_epochs)
    found[f"{KERAS}, weight {WEIGHT}"] = keras_labels(model, net[:-1].transform(X_test))
    return found


def times(X: Inputs, y: np.ndarray, n_rounds: int) -> dict[str, Sequence[float]]:
    """Return the seconds of epochs, one of each library in a round."""
    net, targets = our_net(2, seed=0), Targets({MAIN: y})
    net[:-1].fit(X)
    ready = net[:-1].transform(X)

    def our_epoch() -> float:
        return net[-1].fit(ready, targets).net_.history[-1, "dur"]

    measures: dict[str, Callable[[], float]] = {OURS: our_epoch}
    for name, mask_zero in ((KERAS, True), (GUIDE, False)):
        fit = partial(fit_keras, keras_net(0, mask_zero=mask_zero), ready, y, 1)
        fit()
        measures[name] = partial(seconds_of, fit)
    return in_turns(measures, n_rounds)


def main() -> None:
    """Print the tables."""
    args = arguments(__doc__)
    seeds, n_epochs, n_rounds, n_rows = ((0,), 1, 1, 400) if args.quick else ((0, 1, 2), 5, 3, None)
    data = pd.read_csv(DATA / "sms_spam.csv").iloc[:n_rows]
    y = data["y_label"].to_numpy()
    numbers = data.filter(regex="^x_n_").to_numpy(np.float32)
    X = Inputs({"main_input": data["x_text"].to_numpy(), "aux_input": numbers})

    scores: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=0.2, stratify=y, random_state=seed
        )
        for name, predicted in predictions(X_train, y_train, X_test, n_epochs, seed).items():
            found = {output: f1_score(y_test, labels) for output, labels in predicted.items()}
            found["accuracy"] = accuracy_score(y_test, predicted[MAIN])
            scores.setdefault(name, []).append(found)
            print(f"seed {seed}: {name}: {found}")
    rows = [
        (
            name,
            f"{mean(found['accuracy'] for found in by_seed):.4f}",
            f"{mean(found[MAIN] for found in by_seed):.3f}",
            ", ".join(f"{found[MAIN]:.3f}" for found in by_seed),
            # With the weight 0, which the search may choose, the auxiliary output learns nothing.
            f"{mean(found[AUX] for found in by_seed):.3f}"
            if all(found.get(AUX) for found in by_seed)
            else "",
        )
        for name, by_seed in scores.items()
    ]
    quality = table(("", "accuracy", "F1", "F1 by seed", "F1 of the auxiliary output"), rows)
    print(quality)

    seconds = times(X, y, n_rounds)
    rows = [
        (name, number(seconds[name], digits=2), ratio(seconds[OURS], seconds[name]))
        for name in seconds
    ]
    speed = table(("", "seconds per epoch", "mtlearn's time by this one's"), rows)
    print(speed)
    if args.write:
        write("texts", [quality, speed])


if __name__ == "__main__":
    main()
