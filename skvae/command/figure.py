"""The figure of the job: the latents, and signals beside their reconstructions."""

import numpy as np


def draw(path, vae, X, y, *, titles, names=(), **of_signals):
    """Write the figure; return what to print of it, or of missing matplotlib.

    Titles are those of the latents, which y colours, and of the signals. Names are
    those of the signals; **of_signals as for `ReconstructionDisplay.from_estimator`.
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
                width = max(map(len, texts)) + 8  # letters, with the marker
                ncols = np.clip(100 // width, 1, 3)  # in its half of the figure
                legend.remove()
                style = {
                    "loc": "outside lower center",
                    "ncols": ncols,
                    "frameon": False,
                }
                part.legend(legend.legend_handles, texts, fontsize="small", **style)
        figure.savefig(path)
        plt.close(figure)
    return f", {path.name}"
