"""Convolutional variational autoencoders for 1-D signals, for scikit-learn."""

from skvae.transformer import ConvVAETransformer

__all__ = ["ConvVAETransformer", "__version__"]

__version__ = "0.2.0"
