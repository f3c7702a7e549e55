"""MLflow logs fitted estimators with their losses, and loads them to predict the same bytes."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mtlearn import (
    MultiOutputNet,
    MultiOutputNetClassifier,
    MultiOutputNetRegressor,
    OutputView,
    Targets,
)

pytestmark = pytest.mark.interop

N = 80
X = np.random.default_rng(0).normal(size=(N, 4))
Y = Targets({"price": X[:, 0] - X[:, 1], "kind": np.where(X[:, 1] > 0, "flat", "house")})
PARAMS = {"max_epochs": 3, "random_state": 0}
REQUIREMENTS = ["scikit-mtlearn"]

FITS = {
    "net": lambda: MultiOutputNet(**PARAMS).fit(X, Y),
    "pipeline": lambda: make_pipeline(StandardScaler(), MultiOutputNet(**PARAMS)).fit(X, Y),
    "regressor": lambda: MultiOutputNetRegressor(**PARAMS).fit(X, Y["price"], aux=Y[["kind"]]),
    "classifier": lambda: MultiOutputNetClassifier(**PARAMS).fit(X, Y["kind"], aux=Y[["price"]]),
    "view": lambda: OutputView(FITS["pipeline"](), "price"),
}


@pytest.fixture(scope="module")
def installed():
    with pytest.MonkeyPatch.context() as patch:
        # They are read when mlflow is imported, and the second when a store is opened.
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("GIT_PYTHON_REFRESH", "quiet")
        pytest.importorskip("mlflow", reason="mlflow is absent")
        import mlflow.sklearn

        yield mlflow


@pytest.fixture
def mlflow(installed, tmp_path):
    """MLflow with a store of files under the test's own folder."""
    before = installed.get_tracking_uri()
    installed.set_tracking_uri((tmp_path / "runs").as_uri())
    yield installed
    installed.set_tracking_uri(before)


@pytest.fixture
def log(mlflow):
    """Logs an estimator in a run of its own."""

    def log(fitted, **options):
        options = {"pip_requirements": REQUIREMENTS} | options
        with mlflow.start_run(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return mlflow.sklearn.log_model(fitted, name="model", **options)

    return log


def trusted_types(fitted):
    """The types of mtlearn in the file that skops writes, and no others."""
    sio = pytest.importorskip("skops.io", reason="skops is absent")
    names = sio.get_untrusted_types(data=sio.dumps(fitted))
    return [name for name in names if name.startswith("mtlearn.")]


def check_same(loaded, fitted):
    for method in ("predict", "predict_proba"):
        if hasattr(fitted, method):
            assert np.all(getattr(loaded, method)(X) == getattr(fitted, method)(X))


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize("form", ["skops", "cloudpickle"])
def test_a_logged_estimator_is_loaded_and_predicts_the_same_bytes(mlflow, log, fit, form):
    fitted = fit()
    options = {"serialization_format": form}
    if form == "skops":
        options["skops_trusted_types"] = trusted_types(fitted)
    loaded = mlflow.sklearn.load_model(log(fitted, **options).model_uri)
    assert type(loaded) is type(fitted)
    check_same(loaded, fitted)


def test_an_estimator_in_skops_form_is_refused_without_trust(mlflow, log):
    pytest.importorskip("skops", reason="skops is absent")
    with pytest.raises(mlflow.MlflowException, match=r"mtlearn\.estimators\._net\.MultiOutputNet"):
        log(FITS["net"](), serialization_format="skops")


def test_the_signature_names_every_output_and_the_served_model_predicts_them(mlflow, log):
    fitted = FITS["pipeline"]()
    info = log(fitted, serialization_format="cloudpickle", input_example=X[:3])
    assert info.signature.outputs.input_names() == ["price", "kind"]
    served = mlflow.pyfunc.load_model(info.model_uri)
    assert served.predict(X) == fitted.predict(X)


def test_a_logged_view_serves_one_output_as_an_array(mlflow, log):
    view = FITS["view"]()
    info = log(view, serialization_format="cloudpickle", input_example=X[:3])
    served = mlflow.pyfunc.load_model(info.model_uri)
    np.testing.assert_array_equal(served.predict(X), view.predict(X))


def test_the_losses_of_each_epoch_are_metrics_of_the_run(mlflow):
    net = FITS["net"]()
    with mlflow.start_run() as run:
        for epoch, row in enumerate(net.history_, start=1):
            mlflow.log_metrics(row, step=epoch)
    client = mlflow.MlflowClient()
    for name in ("loss", "price_loss", "kind_loss", "kind_weight", "penalty"):
        found = client.get_metric_history(run.info.run_id, name)
        assert [metric.step for metric in found] == [1, 2, 3]
        assert [metric.value for metric in found] == [row[name] for row in net.history_]


def test_guessed_requirements_do_not_name_the_other_distribution(mlflow, log):
    info = log(
        FITS["net"](),
        serialization_format="cloudpickle",
        pip_requirements=None,
        extra_pip_requirements=REQUIREMENTS,
    )
    folder = Path(mlflow.artifacts.download_artifacts(info.model_uri))
    lines = (folder / "requirements.txt").read_text().splitlines()
    names = [line.partition("==")[0] for line in lines]
    assert "scikit-mtlearn" in names
    assert "torch" in names
    assert "mtlearn" not in names


def test_the_example_of_the_guide_runs(mlflow, run_example):
    pytest.importorskip("skops", reason="skops is absent")
    names = run_example("MLflow")
    assert names["loaded"].predict(names["X"]) == names["net"].predict(names["X"])
