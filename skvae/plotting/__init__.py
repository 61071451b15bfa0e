"""Displays of a fitted autoencoder, in the form of scikit-learn's.

Each holds arrays: `from_estimator` computes them and `plot` draws them. They need
matplotlib: ``pip install skvae[plot]``. Parameters that they share:

estimator : fitted ConvVAETransformer, or Pipeline with one among its steps
    The steps before it transform X. Those behind it are not used.
ax : Axes or array of Axes, optional
    As many axes as there are panels. By default a new figure.
channel_names : sequence of str, optional
    By default names of columns, or numbers.
timepoints : array-like of shape (n_timepoints,), optional
    Positions of the time steps, such as wavelengths. By default names of columns that
    are numbers or times: those of the fitted X, or of what the steps before make of it.
    scikit-learn's steps keep names that are strings, as of ``X.rename(columns=str)``.
xlabel : str, optional
    Label of that axis. By default "time step", or nothing with `timepoints`.
**kwargs
    Keywords of `plot`, of matplotlib's `Axes.plot` or, for points, of `Axes.scatter`.

What is drawn is in `axes_`, an array (n_rows, n_columns), and `figure_`.
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
