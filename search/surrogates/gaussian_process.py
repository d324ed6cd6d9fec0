"""A Gaussian process whose kernel is a linear model plus what a linear model misses."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Kernel, WhiteKernel

from elasticnas.search.activity import Indices
from elasticnas.search.surrogates.features import Encoding
from elasticnas.search.surrogates.protocol import Vector
from elasticnas.search.surrogates.subsample import spread_and_latest

TUNED_ON = 256
"""Hyperparameters are few; more points than this sharpen them no further, and cost cubically."""

LEARNED_FROM = 512
"""A posterior costs time by the cube of its points, and a search's latest lie where it matters."""

SMALLEST_NOISE = 1e-3
"""Of the losses' variance: keeps the kernel matrix well conditioned."""


@dataclass(frozen=True)
class _Scaled:
    """A Gaussian process over standardised losses."""

    regressor: GaussianProcessRegressor
    encoding: Encoding
    centre: float
    scale: float
    noise: float

    def marginal(self, indices: Indices) -> tuple[Vector, Vector]:
        """See `Posterior.marginal`."""
        mean, std = self.regressor.predict(self.encoding.all(indices), return_std=True)
        return mean * self.scale + self.centre, std * self.scale

    def joint(self, indices: Indices) -> tuple[Vector, NDArray[np.float64]]:
        """See `Posterior.joint`."""
        mean, covariance = self.regressor.predict(self.encoding.all(indices), return_cov=True)
        return mean * self.scale + self.centre, covariance * self.scale**2


class GaussianProcess:
    """Rasmussen & Williams 2006, chapters 2 and 5 (hyperparameters by marginal likelihood).

    The dot product over the ordinal and shared features is Bayesian linear regression; the squared
    exponential over the same features holds interactions and curvature.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding

    def tune(self, indices: Indices, losses: Vector, noise: float | None) -> tuple[float, ...]:
        """See `Surrogate.tune`. Rounded, so that last bits of arithmetic change no proposal."""
        chosen = np.linspace(0, len(losses) - 1, min(TUNED_ON, len(losses))).astype(int)
        centre, scale = _standard(losses)
        regressor = GaussianProcessRegressor(self._kernel(noise, scale), alpha=1e-8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            regressor.fit(self._encoding.all(indices[chosen]), (losses[chosen] - centre) / scale)
        return tuple(np.round(regressor.kernel_.theta, 2).tolist())

    def condition(
        self, tuned: tuple[float, ...], indices: Indices, losses: Vector, noise: float | None
    ) -> _Scaled:
        """See `Surrogate.condition`."""
        centre, scale = _standard(losses)
        kept = spread_and_latest(len(losses), LEARNED_FROM)
        kernel = self._kernel(noise, scale).clone_with_theta(np.array(tuned))
        variance = float(np.exp(tuned[-1]))
        # The noise sits on the diagonal of what was measured, not in the belief about the truth.
        regressor = GaussianProcessRegressor(kernel.k1, alpha=variance, optimizer=None)
        regressor.fit(self._encoding.all(indices[kept]), (losses[kept] - centre) / scale)
        return _Scaled(regressor, self._encoding, centre, scale, variance * scale**2)

    def _kernel(self, noise: float | None, scale: float) -> Kernel:
        """Sum of three parts; the noise comes last, at most the sampling variance if known."""
        ceiling = 1.0 if noise is None else min(1.0, max(noise / scale**2, 2 * SMALLEST_NOISE))
        return (
            ConstantKernel(1.0, (1e-2, 1e2)) * DotProduct(sigma_0=0.1, sigma_0_bounds="fixed")
            + ConstantKernel(0.3, (1e-3, 1e2)) * RBF(0.5, (0.1, 3.0))
            + WhiteKernel(ceiling / 2, (SMALLEST_NOISE, ceiling))
        )


def _standard(losses: Vector) -> tuple[float, float]:
    """The centre and scale of measured losses; a constant metric has scale one."""
    return float(np.mean(losses)), float(np.std(losses)) or 1.0
