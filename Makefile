# Every target makes .venv by itself when it is missing or older than what it is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest
PARALLEL := -n auto --maxprocesses 8

# One file per set of dependencies says when that set was installed.
define install
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e $(1)
	touch $@
endef

.PHONY: demo test test-slow test-oldest interop lint docs bench clean
.DEFAULT_GOAL := test

$(VENV)/.demo: pyproject.toml constraints.txt
	$(call install,".[plot]")

$(VENV)/.test: pyproject.toml constraints.txt
	$(call install,. --group test)

$(OLDEST)/.test: pyproject.toml constraints-oldest.txt
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt pip
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e . --group test
	touch $@

$(VENV)/.bench: pyproject.toml constraints.txt
	$(call install,. --group bench)

$(VENV)/.interop: pyproject.toml constraints.txt
	$(call install,. --group interop)

$(VENV)/.lint: pyproject.toml constraints.txt
	$(call install,. --group lint)

$(VENV)/.docs: pyproject.toml constraints.txt
	$(call install,. --group docs)

demo: $(VENV)/.demo  ## train, search the auxiliary weight, save, reload, draw
	$(BIN)/python examples/plot_main_job.py

test: $(VENV)/.test  ## the tests, in as many processes as processors
	$(BIN)/python -m pytest $(PARALLEL)

test-slow: $(VENV)/.test  ## the tests that take longer: tools of scikit-learn, threads, random settings
	$(BIN)/python -m pytest -m slow $(PARALLEL)

test-oldest: $(OLDEST)/.test  ## the tests with the oldest versions that pyproject.toml admits
	$(OLDEST)/bin/python -m pytest $(PARALLEL)

interop: $(VENV)/.interop  ## the tests with neighbours: skrub, Optuna, dask, skops, MLflow, SHAP, ...
	$(BIN)/python -m pytest -m interop tests/interop

bench: $(VENV)/.bench  ## the tables of benchmarks/; most go to docs/benchmarks
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/streams.py
	$(BIN)/python benchmarks/texts.py --write
	$(BIN)/python benchmarks/auxiliary_classifiers.py --write
	$(BIN)/python benchmarks/order_of_states.py --write
	$(BIN)/python benchmarks/categories.py --write
	$(BIN)/python benchmarks/experts.py --write
	$(BIN)/python benchmarks/tables.py --write
	$(BIN)/python benchmarks/table_times.py --write
	$(BIN)/python benchmarks/intervals.py --write
	$(BIN)/python benchmarks/bike.py --write
	$(BIN)/python benchmarks/weighting_steps.py --write
	$(BIN)/python benchmarks/weightings.py --write
	$(BIN)/python benchmarks/auxiliary_effect.py --write
	$(BIN)/python benchmarks/relatedness.py --write
	$(BIN)/python benchmarks/gradient_monitor.py --write
	$(BIN)/python benchmarks/online.py --write
	$(BIN)/python benchmarks/online_every.py --write
	$(BIN)/python benchmarks/online_ablation.py --write
	$(BIN)/python benchmarks/online_depth.py --write
	$(BIN)/python benchmarks/online_outputs.py --write
	$(BIN)/python benchmarks/online_speed.py --write
	$(BIN)/python benchmarks/checkpoints.py --write
	$(BIN)/python benchmarks/model_files.py --write
	$(BIN)/python benchmarks/steps.py --write
	$(BIN)/python benchmarks/search.py --write
	$(BIN)/python benchmarks/growth.py --write
	$(BIN)/python benchmarks/predict.py --write

lint: $(VENV)/.lint  ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: $(VENV)/.docs  ## the documentation, warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) $(OLDEST) build dist docs/_build docs/generated docs/gallery examples/output
