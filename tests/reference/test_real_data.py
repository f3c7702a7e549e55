"""Default nets reach known figures on real tables."""

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, mean_absolute_error, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import MultiOutputNet, Targets


def load(folder, name, number, label):
    frame = pd.read_csv(folder / f"{name}.csv")
    y = Targets({number: frame[f"y_{number}"].astype(float), label: frame[f"y_{label}"]})
    return frame.filter(regex="^x_").to_numpy(np.float64), y


def test_wine_quality_and_colour_are_learned_together(data_folder):
    X, y = load(data_folder, "wine_quality", "quality", "colour")
    errors, accuracies = [], []
    for seed in (0, 1, 2):
        split = train_test_split(X, y, test_size=0.2, random_state=seed)
        X_train, X_test, y_train, y_test = split
        net = make_pipeline(StandardScaler(), MultiOutputNet(random_state=seed))
        predicted = net.fit(X_train, y_train).predict(X_test)
        errors.append(root_mean_squared_error(y_test["quality"], predicted["quality"]))
        accuracies.append(accuracy_score(y_test["colour"], predicted["colour"]))
    assert np.mean(errors) <= 0.675
    assert np.mean(accuracies) >= 0.993


def test_rings_of_abalone_are_learned_beside_its_sex(data_folder):
    X, y = load(data_folder, "abalone", "rings", "sex")
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.33, random_state=1)
    net = make_pipeline(StandardScaler(), MultiOutputNet(random_state=0)).fit(X_train, y_train)
    assert mean_absolute_error(y_test["rings"], net.predict(X_test)["rings"]) <= 1.50
