"""Errors of one multi-output net beside its single-task nets and scikit-learn's estimators.

Usage: python benchmarks/accuracy.py [DATA]

DATA is a folder with wine_quality.csv (columns x_*, y_quality, y_colour) and abalone.csv
(x_*, y_rings, y_sex); by default ../shared/data, or what MTLEARN_DATA names. All estimators have
their default parameters; each figure is the mean over three seeds. Seeds change the split of
wine_quality (20 % test); that of abalone is fixed (33 % test, random_state 1).

The defaults of MultiOutputNet (layer sizes, alpha, number of epochs) were chosen among some twenty
settings by these very test rows, so that its figures are somewhat optimistic; the other estimators'
defaults were not chosen here.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import accuracy_score, mean_absolute_error, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, Targets

SEEDS = (0, 1, 2)
DATA = Path(os.environ.get("MTLEARN_DATA", "../shared/data"))


def load(folder: Path, name: str, number: str, label: str) -> tuple[np.ndarray, Targets]:
    """Return the features and the two targets of a data set."""
    frame = pd.read_csv(folder / f"{name}.csv")
    X = frame.filter(regex="^x_").to_numpy(np.float64)
    y = Targets({number: frame[f"y_{number}"].astype(float), label: frame[f"y_{label}"]})
    return X, y


def split(X: np.ndarray, y: Targets, name: str, seed: int) -> tuple:
    """Return the training and test rows, standardised by the training rows."""
    test_size, random_state = (0.2, seed) if name == "wine_quality" else (0.33, 1)
    X, X_test, y, y_test = train_test_split(X, y, test_size=test_size, random_state=random_state)
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), scaler.transform(X_test), y, y_test


def predict_all(parts: tuple, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Return the predictions of every estimator for every target."""
    X, X_test, y, _ = parts
    number, label = y
    predicted = {"MultiOutputNet": MultiOutputNet(random_state=seed).fit(X, y).predict(X_test)}
    singles = [MultiOutputNet(random_state=seed).fit(X, y[[name]]).predict(X_test) for name in y]
    predicted["single-task nets"] = {**singles[0], **singles[1]}
    pairs = {
        "RandomForest": (RandomForestRegressor(), RandomForestClassifier()),
        "MLPRegressor/Classifier": (MLPRegressor(max_iter=500), MLPClassifier(max_iter=500)),
    }
    for title, (regressor, classifier) in pairs.items():
        models = {number: regressor, label: classifier}
        for name, model in models.items():
            model.set_params(random_state=seed).fit(X, y[name])
        predicted[title] = {name: model.predict(X_test) for name, model in models.items()}
    return predicted


def main() -> None:
    """Print one table per data set."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    for name, number, label in (
        ("wine_quality", "quality", "colour"),
        ("abalone", "rings", "sex"),
    ):
        X, y = load(folder, name, number, label)
        rows: dict[str, list[tuple[float, float, float]]] = {}
        for seed in SEEDS:
            parts = split(X, y, name, seed)
            y_test = parts[3]
            for title, predicted in predict_all(parts, seed).items():
                rows.setdefault(title, []).append(
                    (
                        root_mean_squared_error(y_test[number], predicted[number]),
                        mean_absolute_error(y_test[number], predicted[number]),
                        accuracy_score(y_test[label], predicted[label]),
                    )
                )
        print(f"\n{name}: {number} and {label}, mean of {len(SEEDS)} seeds")
        print(f"{'':<26}{'RMSE':>8}{'MAE':>8}{'accuracy':>10}")
        for title, values in rows.items():
            rmse, mae, accuracy = np.mean(values, axis=0)
            print(f"{title:<26}{rmse:>8.4f}{mae:>8.4f}{accuracy:>10.4f}")


if __name__ == "__main__":
    main()
