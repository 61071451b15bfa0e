"""Displays of a fitted autoencoder, in the form of scikit-learn's.

Each holds arrays: `from_estimator` computes them, by the estimator's public methods,
and `plot` draws them, see `shared.Display`. Signals are grey, what the model makes of
them is red. They need matplotlib: ``pip install skvae[plot]``.
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
