"""The figure of the job: the latents, and some signals beside their reconstructions."""

import numpy as np


def draw(folder, vae, X, y, *, titles, n_samples, names=None, **of_signals):
    """Write figure.png; ImportError without matplotlib.

    Parameters
    ----------
    folder : Path
    vae : fitted ConvVAETransformer
    X : ndarray of shape (n_samples, n_channels, n_timepoints)
    y : ndarray of shape (n_samples,), or None
        What points of the latent space are coloured by.
    titles : pair of str
        Of the latents, and of the signals.
    n_samples : int
        How many signals are drawn.
    names : list of str, optional
        Of the signals that are drawn.
    **of_signals : as for `ReconstructionDisplay.from_estimator`
    """
    import matplotlib
    import matplotlib.pyplot as plt

    from skvae.plotting import LatentSpaceDisplay, ReconstructionDisplay

    size = 14, np.clip(1.2 * X.shape[1], 5, 12)
    with matplotlib.rc_context({"backend": "agg", "figure.dpi": 120}):
        figure = plt.figure(figsize=size, layout="constrained")
        left, right = parts = figure.subfigures(1, 2, width_ratios=[1, 1.4])
        for part, title in zip(parts, titles, strict=True):
            part.suptitle(title)
        latents = LatentSpaceDisplay.from_estimator(
            vae, X, y, method="tsne", random_state=0, ax=left.subplots()
        )
        reconstructions = ReconstructionDisplay.from_estimator(
            vae,
            X,
            n_samples=n_samples,
            random_state=0,
            ax=right.subplots(X.shape[1], n_samples, sharex=True, sharey="row"),
            **of_signals,
        )
        for ax, name in zip(reconstructions.axes_[0], names or [], strict=False):
            ax.set_title(name)
        for part, display in zip(parts, (latents, reconstructions), strict=True):
            if legend := display.axes_[0, -1].get_legend():  # it hides what is drawn
                texts = [text.get_text() for text in legend.get_texts()]
                width = max(map(len, texts)) + 8  # letters, with the marker
                ncols = np.clip(100 // width, 1, 3)  # in its half of the figure
                style = {"ncols": ncols, "frameon": False, "fontsize": "small"}
                legend.remove()
                style |= {"loc": "outside lower center"}
                part.legend(legend.legend_handles, texts, **style)
        figure.savefig(folder / "figure.png")
        plt.close(figure)
