"""Displays of a fitted autoencoder, in the form of scikit-learn's displays.

A display holds arrays: `from_estimator` computes them and `plot` draws them. Displays
need matplotlib: ``pip install skvae[plot]``. They share these parameters:

estimator : fitted ConvVAETransformer, or Pipeline that contains one
    The steps before it transform X. The steps after it are not used.
ax : Axes or array of Axes, optional
    One axes for each panel. By default a new figure.
channel_names : sequence of str, optional
    By default, the names of the columns, or numbers.
timepoints : array-like of shape (n_timepoints,), optional
    Positions of the time steps, such as wavelengths. By default, column names that are
    numbers or times: those of the fitted X, or those of the output of the steps before.
    Steps of scikit-learn keep only names that are strings: use
    ``X.rename(columns=str)``.
xlabel : str, optional
    Label of the time axis. By default "time step", or nothing with `timepoints`.
**kwargs
    Keywords of `plot`, of matplotlib's `Axes.plot` or, for points, of `Axes.scatter`.

A drawn display has `axes_`, an array (n_rows, n_columns), and `figure_`.
"""

from skvae.plotting.latent_space import LatentSpaceDisplay
from skvae.plotting.latent_traversal import LatentTraversalDisplay
from skvae.plotting.reconstruction import ReconstructionDisplay
from skvae.plotting.samples import SamplesDisplay
from skvae.plotting.training_curve import TrainingCurveDisplay

__all__ = [
    "LatentSpaceDisplay",
    "LatentTraversalDisplay",
    "ReconstructionDisplay",
    "SamplesDisplay",
    "TrainingCurveDisplay",
]
