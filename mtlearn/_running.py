"""Statistics of features that come and go: means, scales and covariances, row by row."""

import numpy as np
from scipy.linalg import blas, lapack

from mtlearn._typing import Array, Floats, Mask

__all__ = ["RunningFeatures"]

CLIP = 4.0
RIDGE = 0.1
FIRST_ROWS = 5.0
FARTHEST = 20.0  # in standard deviations: what lies beyond moves the statistics no further


class RunningFeatures:
    r"""Scales rows whose values may be absent (NaN), and estimates the absent ones.

    A value is standardised by the mean and the standard deviation of the values seen so far,
    itself among them, and clipped to [-4, 4]. An absent one is its mean given the values that are
    there, clipped the same,

    .. math:: z_m = S_{mo} (S_{oo} + 0.1 I)^{-1} z_o

    where o are the positions that are there, m the others, and S is the running covariance of the
    standardised values. It starts as the identity, and takes the share :math:`g = 1 / (t + 5)` of
    row t, whose absent values enter with their conditional covariance, as in the EM algorithm:

    .. math:: S \leftarrow (1 - g) S + g (z z^\top + C), \qquad
        C_{mm} = S_{mm} - S_{mo} (S_{oo} + 0.1 I)^{-1} S_{om}, \quad C = 0 \text{ elsewhere}

    Parameters
    ----------
    scale : bool
        Whether to standardise; else values stay as they are.
    most_imputed : float
        The number of features above which absent values are not estimated, but 0.
    forgetting : float
        What sums are multiplied by before each row: 1 remembers all rows alike; below 1, a row that
        came n rows ago counts ``forgetting ** n``.

    References
    ----------
    Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products", 1962; Chan,
    Golub and LeVeque, 1983 (batches); Dempster, Laird and Rubin, "Maximum Likelihood from
    Incomplete Data via the EM Algorithm", 1977; Cappé and Moulines, "On-line Expectation-
    Maximization Algorithm for Latent Data Models", 2009 (one row at a time).
    """

    def __init__(self, *, scale: bool, most_imputed: float, forgetting: float) -> None:
        self.scale, self.most_imputed, self.forgetting = scale, most_imputed, forgetting
        self.impute = most_imputed > 0
        self.n_rows = 0
        self.count, self.mean, self.squares = np.zeros(0), np.zeros(0), np.zeros(0)
        self.covariance = np.zeros((0, 0))

    def widen(self, n_features: int) -> None:
        """Add features that no row has had."""
        new = n_features - len(self.count)
        self.count, self.mean, self.squares = (
            np.concatenate([values, np.zeros(new)])
            for values in (self.count, self.mean, self.squares)
        )
        self.impute = n_features <= self.most_imputed
        if not self.impute:
            self.covariance = np.zeros((0, 0))
        else:
            wider = np.eye(n_features)
            wider[: -new or None, : -new or None] = self.covariance
            self.covariance = wider

    def transform(self, rows: Floats) -> Floats:
        """Return rows as `learn` would give each of them if it came next, and learn nothing.

        Shape: (n_samples, n_features), with NaN where a value is absent, to the same without NaN.
        """
        present = np.isfinite(rows)
        z = self._scaled(rows, present)
        if self.impute:
            for row, there in zip(z, present, strict=True):
                self._fill(row, there)
        return z

    def learn(self, rows: Floats) -> Floats:
        """Return rows as `transform` does, the statistics being those with these rows."""
        present = np.isfinite(rows)
        if self.scale:
            self._update(self._near(rows), present)
            z = self._standardized(rows, present, self.mean, self.squares, self.count)
        else:
            z = np.where(present, rows, 0.0)
        if not self.impute:
            self.n_rows += len(rows)
            return z
        for row, there in zip(z, present, strict=True):
            filled = self._fill(row, there)
            if there.any():
                self._update_covariance(row, filled)
            self.n_rows += 1
        return z

    def _scaled(self, rows: Floats, present: Mask) -> Floats:
        if not self.scale:
            return np.where(present, rows, 0.0)
        count = self.forgetting * self.count + 1
        off = np.where(present, self._near(rows), self.mean) - self.mean
        squares = self.forgetting * self.squares + off**2 * (1 - 1 / count)
        return self._standardized(rows, present, self.mean + off / count, squares, count)

    def _near(self, rows: Floats) -> Floats:
        """Return rows with what is far off brought nearer: no single value sets the scale."""
        known = (self.count >= FIRST_ROWS) & (self.squares > 0)
        reach = np.full(len(self.count), np.inf)
        reach[known] = FARTHEST * np.sqrt(self.squares[known] / self.count[known])
        return np.clip(rows, self.mean - reach, self.mean + reach)

    @staticmethod
    def _standardized(
        rows: Floats, present: Mask, mean: Floats, squares: Floats, count: Floats
    ) -> Floats:
        deviation = np.sqrt(squares / np.maximum(count, 1.0))
        varies = present & (deviation > 1e-12 * np.abs(mean))
        z = np.zeros(rows.shape)
        np.divide(rows - mean, deviation, out=z, where=varies)
        return np.clip(z, -CLIP, CLIP, out=z)

    def _update(self, rows: Floats, present: Mask) -> None:
        """Merge the sums of the rows into those of all."""
        n = present.sum(axis=0)
        safe = np.maximum(n, 1)
        kept = self.forgetting**n  # a feature forgets only when it comes again
        weights = self._weights_of(present)
        share = weights.sum(axis=0)
        filled = np.where(present, rows, 0.0)
        mean = (weights * filled).sum(axis=0) / np.where(n > 0, share, safe)
        squares = (weights * np.where(present, rows - mean, 0.0) ** 2).sum(axis=0)
        before = kept * self.count
        total = before + share
        off = np.where(n > 0, mean - self.mean, 0.0)
        ratio = share / np.maximum(total, 1e-300)
        self.squares = kept * self.squares + squares + off**2 * before * ratio
        self.mean = self.mean + off * ratio
        self.count = total

    def _weights_of(self, present: Mask) -> Floats:
        """Return what each value counts after the last row: those before it are forgotten."""
        if self.forgetting == 1.0 or len(present) == 1:
            return present.astype(np.float64)
        later = present[::-1].cumsum(axis=0)[::-1] - present
        return present * self.forgetting**later

    def _fill(self, row: Floats, there: Mask) -> tuple[Array, Floats] | None:
        """Write the estimates of absent values; return their positions and covariance, if any."""
        known, absent = there.nonzero()[0], (~there).nonzero()[0]
        if not len(absent) or not len(known):
            return None
        inner = self.covariance.take(known, 0).take(known, 1)
        inner.flat[:: len(known) + 1] += RIDGE  # so that there always is a Cholesky factor
        of_absent = self.covariance.take(absent, 0)
        # With L that of S_oo + 0.1 I, L^-1 z_o and L^-1 S_om hold all that is asked for.
        factor = lapack.dpotrf(inner.T, lower=1, overwrite_a=1)[0]
        z = blas.dtrsv(factor, row[known], lower=1)
        gain = blas.dtrsm(1.0, factor, of_absent.take(known, 1).T, lower=1, overwrite_b=1)
        row[absent] = (z @ gain).clip(-CLIP, CLIP)
        return absent, of_absent.take(absent, 1) - gain.T @ gain

    def _update_covariance(self, row: Floats, filled: tuple[Array, Floats] | None) -> None:
        share = max(1.0 / (self.n_rows + FIRST_ROWS), 1.0 - self.forgetting)
        self.covariance *= 1 - share
        if filled is not None:
            absent, rest = filled
            self.covariance[absent[:, None], absent] += share * rest
        self.covariance = blas.dger(share, row, row, a=self.covariance.T, overwrite_a=1).T
