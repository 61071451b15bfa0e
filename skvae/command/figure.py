"""The figure of the job: the latents, and signals beside their reconstructions."""

import numpy as np


def draw(path, vae, X, y, *, titles, names=(), **of_signals):
    """Write the figure, and return a line that says so, or how to get matplotlib.

    Parameters
    ----------
    path : Path
    vae : fitted ConvVAETransformer
    X : ndarray of shape (n_samples, n_channels, n_timepoints)
    y : ndarray of shape (n_samples,), or None
        Labels or numbers that colour the latents.
    titles : pair of str
        Titles of the latents and of the signals.
    names : sequence of str
        Names of the signals that are drawn.
    **of_signals : as for `ReconstructionDisplay.from_estimator`
    """
    try:
        import matplotlib
        import matplotlib.pyplot as plt
    except ImportError:
        return ". No figure: pip install matplotlib"
    from skvae.plotting import LatentSpaceDisplay, ReconstructionDisplay

    size = 14, np.clip(1.2 * X.shape[1], 5, 12)
    shape = X.shape[1], of_signals["n_samples"]
    with matplotlib.rc_context({"backend": "agg", "figure.dpi": 120}):
        figure = plt.figure(figsize=size, layout="constrained")
        parts = figure.subfigures(1, 2, width_ratios=[1, 1.4])
        axes = parts[0].subplots(), parts[1].subplots(*shape, sharex=True, sharey="row")
        displays = (
            LatentSpaceDisplay.from_estimator(
                vae, X, y, method="tsne", random_state=0, ax=axes[0]
            ),
            ReconstructionDisplay.from_estimator(
                vae, X, random_state=0, ax=axes[1], **of_signals
            ),
        )
        for ax, name in zip(displays[1].axes_[0], names, strict=False):
            ax.set_title(name)
        for part, display, title in zip(parts, displays, titles, strict=True):
            part.suptitle(title)
            if legend := display.axes_[0, -1].get_legend():  # it hides what is drawn
                texts = [text.get_text() for text in legend.get_texts()]
                legend.remove()
                style = {"loc": "outside lower center", "ncols": 3, "frameon": False}
                part.legend(legend.legend_handles, texts, fontsize="small", **style)
        figure.savefig(path)
        plt.close(figure)
    return f", {path.name}"
