"""The index of the public names, in the order and under the titles in which `api` shows them.

``API`` maps a title to a module and to the names of it that the section holds. ``PAGES`` maps a
title to the pages that describe them. The names are checked against ``__all__`` by the tests.
"""

API = {
    "Estimators": {
        "module": "mtlearn",
        "names": [
            "MultiOutputNet",
            "MultiOutputNetRegressor",
            "MultiOutputNetClassifier",
            "OutputView",
            "tabular_net",
        ],
    },
    "Targets": {
        "module": "mtlearn",
        "names": ["Targets", "Inputs"],
    },
    "Preprocessing": {
        "module": "mtlearn.preprocessing",
        "names": ["ColumnInputs", "OnInput", "PiecewiseLinear", "SmoothClip", "Tokenizer"],
    },
    "Heads": {
        "module": "mtlearn.heads",
        "names": [
            "Regression",
            "Quantile",
            "Gaussian",
            "Count",
            "Classification",
            "Ordinal",
            "MultiLabel",
            "PairOrder",
            "infer_head",
            "Head",
            "ClassHead",
        ],
    },
    "Trunks": {
        "module": "mtlearn.trunks",
        "names": [
            "MLP",
            "Graph",
            "Embedding",
            "CategoryEmbedding",
            "Periodic",
            "Recurrent",
            "Transformer",
            "Convolution",
            "Inception",
            "Pool",
            "Residual",
            "LinearSkip",
            "ModuleTrunk",
            "as_trunk",
            "Trunk",
        ],
    },
    "Weights of losses": {
        "module": "mtlearn.weighting",
        "names": ["Linear", "Cosine", "Step", "Schedule"],
    },
    "Model selection": {
        "module": "mtlearn.model_selection",
        "names": [
            "make_output_scorer",
            "output_scoring",
            "StratifyOn",
            "IterativeStratification",
            "GridSearchCV",
            "RandomizedSearchCV",
            "StackedGridSearchCV",
            "train_test_split",
            "cross_validate",
            "cross_val_score",
            "cross_val_predict",
            "learning_curve",
        ],
    },
    "Ensembles": {
        "module": "mtlearn.ensemble",
        "names": ["Blend"],
    },
    "Data": {
        "module": "mtlearn.datasets",
        "names": ["make_grid_walks", "make_order_pairs"],
    },
    "Inspection": {
        "module": "mtlearn.inspection",
        "names": ["ArchitectureDisplay"],
    },
    "Testing": {
        "module": "mtlearn.testing",
        "names": ["check_head", "check_trunk"],
    },
    "Exceptions": {
        "module": "mtlearn.exceptions",
        "names": ["DivergenceError", "HeadInferenceWarning", "TrainingInterruptedWarning"],
    },
}

PAGES = {
    "Estimators": [
        "estimators/net",
        "estimators/regressor",
        "estimators/classifier",
        "estimators/view",
        "ensemble/tabular_net",
    ],
    "Targets": ["targets", "inputs"],
    "Preprocessing": [
        "preprocessing/column_inputs",
        "preprocessing/on_input",
        "preprocessing/piecewise_linear",
        "preprocessing/smooth_clip",
        "preprocessing/tokenizer",
    ],
    "Heads": [
        "heads/regression",
        "heads/quantile",
        "heads/gaussian",
        "heads/count",
        "heads/classification",
        "heads/ordinal",
        "heads/multilabel",
        "heads/pair_order",
        "heads/infer",
        "heads/base",
    ],
    "Trunks": [
        "trunks/mlp",
        "trunks/graph",
        "trunks/embedding",
        "trunks/category_embedding",
        "trunks/periodic",
        "trunks/recurrent",
        "trunks/transformer",
        "trunks/convolution",
        "trunks/inception",
        "trunks/pool",
        "trunks/residual",
        "trunks/linear_skip",
        "trunks/module",
        "trunks/base",
    ],
    "Weights of losses": [
        "weighting/linear",
        "weighting/cosine",
        "weighting/step",
        "weighting/base",
    ],
    "Model selection": [
        "model_selection/output_scoring",
        "model_selection/stratify_on",
        "model_selection/iterative_stratification",
        "model_selection/search",
        "model_selection/stacked_search",
        "model_selection/tools",
    ],
    "Ensembles": ["ensemble/blend"],
    "Data": ["datasets/grid_walks", "datasets/order_pairs"],
    "Inspection": ["inspection/architecture_display"],
    "Testing": ["testing/check_head", "testing/check_trunk"],
    "Exceptions": ["exceptions"],
}
