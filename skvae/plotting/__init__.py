"""Displays of a fitted autoencoder, in the form of scikit-learn's.

Each holds arrays: `from_estimator` computes them, by the estimator's public methods,
and `plot` draws them. Both return the display, with its figure, `figure_`, and its
axes, `axes_` (rows, columns), the first of which is `ax_`. Whatever the display:

- `ax` is where to draw: as many axes as there are panels, or one that they divide;
  None makes a figure;
- further keywords of `from_estimator` are those of `plot`; further ones of `plot` are
  matplotlib's, for the lines or points;
- signals are grey, what the model makes of them is red.

They need matplotlib: ``pip install skvae[plot]``.
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
