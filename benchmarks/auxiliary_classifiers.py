"""An Inception-like network on digits, with and without classifiers on its earlier stages.

Usage: python benchmarks/auxiliary_classifiers.py [--quick] [--write]

scikit-learn's digits, 1,797 images of 8 x 8 pixels, half of them for testing, stratified, by the
seeds 0 to 4. Three Inception blocks, with a convolution and a pooling between them, lead to the
classifier. Auxiliary classifiers after the first and the second block learn the same label with the
weight 0.3, as in GoogLeNet. Both networks have the same seeds, and so the same first weights where
they are the same, and are trained alike; the learning rate, its schedule and the number of epochs
were chosen on splits by other seeds. Predictions with the auxiliary outputs dropped are checked to
be the same, bit for bit.
"""

from collections.abc import Sequence
from statistics import mean, stdev

from _timing import arguments, one_thread, table, write

one_thread()

import numpy as np  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

from mtlearn import Inputs, MultiOutputNet, Targets  # noqa: E402
from mtlearn.heads import Classification  # noqa: E402
from mtlearn.trunks import MLP, Convolution, Graph, Inception, Pool  # noqa: E402

WEIGHT = 0.3
INCEPTION = Inception(16, 32, 8, 8, n_3x3_reduced=16, n_5x5_reduced=8)
STAGES = [
    ("stem", Convolution(16, normalization="batch"), "image"),
    ("block_1", INCEPTION, "stem"),
    ("half", Convolution(64, normalization="batch", pool_size=2), "block_1"),
    ("block_2", INCEPTION, "half"),
    ("quarter", Convolution(64, normalization="batch", pool_size=2), "block_2"),
    ("block_3", INCEPTION, "quarter"),
    ("end", Pool(), "block_3"),
]
AUXILIARY = {"early": "block_1", "middle": "block_2"}


def digit_net(seed: int, n_epochs: int, *, auxiliary: bool) -> MultiOutputNet:
    """Return the network."""
    stages, heads = [*STAGES], {"digit": Classification(at="end")}
    for name, block in AUXILIARY.items() if auxiliary else ():
        stages += [
            (f"{name}_reduced", Convolution(16, 1, normalization="batch", pool_size=2), block),
            (f"{name}_row", Pool("flatten"), f"{name}_reduced"),
            (f"{name}_dense", MLP((64,)), f"{name}_row"),
        ]
        heads[name] = Classification(at=f"{name}_dense", target="digit")
    return MultiOutputNet(
        Graph(stages),
        heads,
        main_output="digit",
        loss_weights=dict.fromkeys(AUXILIARY, WEIGHT) if auxiliary else None,
        alpha=0,
        batch_size=32,
        learning_rate_schedule="cosine",
        max_epochs=n_epochs,
        random_state=seed,
    )


def accuracies(seed: int, n_epochs: int) -> tuple[dict[str, float], float]:
    """Return the accuracy of each output, and that of the digit without auxiliary classifiers."""
    data = load_digits()
    images = (data.images[..., None] / 16).astype(np.float32)
    X, X_test, y, y_test = train_test_split(
        Inputs({"image": images}),
        Targets({"digit": data.target}),
        test_size=0.5,
        stratify=data.target,
        random_state=seed,
    )
    net = digit_net(seed, n_epochs, auxiliary=True).fit(X, y)
    alone = digit_net(seed, n_epochs, auxiliary=False).fit(X, y)
    dropped = net.drop_outputs(list(AUXILIARY))
    chances = net.predict_proba(X_test)["digit"]
    assert np.array_equal(dropped.predict_proba(X_test)["digit"], chances)
    assert n_parameters(dropped) == n_parameters(alone) < n_parameters(net)
    found = {name: float(np.mean(p == y_test["digit"])) for name, p in net.predict(X_test).items()}
    return found, alone.score(X_test, y_test)


def n_parameters(net: MultiOutputNet) -> int:
    """Return the number of parameters of a fitted network."""
    return sum(p.numel() for p in net.module_.parameters())


def row(name: str, values: Sequence[float]) -> tuple[str, ...]:
    """Return a row of the table."""
    spread = f"{stdev(values):.4f}" if len(values) > 1 else ""
    return name, f"{mean(values):.4f}", spread, ", ".join(f"{value:.4f}" for value in values)


def main() -> None:
    """Print the table."""
    args = arguments(__doc__)
    n_seeds, n_epochs = (1, 2) if args.quick else (5, 30)
    with_them, alone = zip(*(accuracies(seed, n_epochs) for seed in range(n_seeds)), strict=True)
    digit = [found["digit"] for found in with_them]
    rows = [
        row("with auxiliary classifiers", digit),
        row("without", alone),
        row("difference", [a - b for a, b in zip(digit, alone, strict=True)]),
        *(row(f"auxiliary, {name}", [found[name] for found in with_them]) for name in AUXILIARY),
    ]
    text = table(("accuracy", "mean", "standard deviation", "by seed"), rows)
    print(text)
    if args.write:
        write("auxiliary_classifiers", [text])


if __name__ == "__main__":
    main()
