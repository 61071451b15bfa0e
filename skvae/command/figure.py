"""The figure of the job: the latents, and signals beside their reconstructions."""

import numpy as np


def draw(path, vae, X, y, *, titles, names=(), **of_signals):
    """Write the figure; return a text to print about it, or about matplotlib.

    `titles` are of the latents, which y colours, and of the signals; `names` are of
    single signals; **of_signals go to `ReconstructionDisplay.from_estimator`.
    """
    try:
        import matplotlib
        import matplotlib.pyplot as plt
    except ImportError:
        return ". No figure: pip install matplotlib"
    from skvae.plotting import LatentSpaceDisplay, ReconstructionDisplay

    n_channels, n_drawn = X.shape[1], of_signals["n_samples"]
    with matplotlib.rc_context({"backend": "agg", "figure.dpi": 120}):
        size = 14, np.clip(1.2 * n_channels, 5, 12)
        figure = plt.figure(figsize=size, layout="constrained")
        parts = figure.subfigures(1, 2, width_ratios=[1, 1.4])
        of_latents = {"ax": parts[0].subplots(), "method": "tsne", "random_state": 0}
        of_signals["ax"] = parts[1].subplots(
            n_channels, n_drawn, sharex=True, sharey="row"
        )
        displays = (
            LatentSpaceDisplay.from_estimator(vae, X, y, **of_latents),
            ReconstructionDisplay.from_estimator(vae, X, random_state=0, **of_signals),
        )
        for ax, name in zip(displays[1].axes_[0], names, strict=False):
            ax.set_title(name)
        for part, display, title in zip(parts, displays, titles, strict=True):
            part.suptitle(title)
            if legend := display.axes_[0, -1].get_legend():  # it would hide points
                texts = [text.get_text() for text in legend.get_texts()]
                n_letters = max(map(len, texts)) + 8  # with the marker
                style = {"loc": "outside lower center", "fontsize": "small"}
                style["ncols"] = np.clip(100 // n_letters, 1, 3)
                part.legend(legend.legend_handles, texts, frameon=False, **style)
                legend.remove()
        figure.savefig(path)
        plt.close(figure)
    return f", {path.name}"
