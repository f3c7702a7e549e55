"""What transformers may return: dense arrays and frames."""

from typing import Any

__all__ = ["check_dense"]


def check_dense(values: Any, transformer: Any, *, subject: str) -> None:
    """Raise a TypeError if a transformer's result is a sparse matrix or array."""
    if hasattr(values, "tocsr"):
        raise TypeError(
            f"{subject}: its transformer must return a dense array. {type(transformer).__name__} "
            f"returned a sparse one of the shape {values.shape}; where it has no parameter such as "
            f"`sparse_output` for that, put TruncatedSVD behind it with make_pipeline."
        )
