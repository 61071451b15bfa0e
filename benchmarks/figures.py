"""The picture of the README, of signals of people whom training has not seen."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from peers import P2
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from skvae import ConvVAETransformer
from skvae.datasets import load_watch
from skvae.plotting import LatentSpaceDisplay
from skvae.scaling import ChannelScaler

FOLDER = Path(__file__).parent / "figures"
MAX_BYTES = 150_000

matplotlib.use("agg")


def save(figure, path):
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=100)
    # 256 colours are enough, and a third of the bytes.
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def latent_spaces():
    """Yield the title of each panel, and latents of training and of test people."""
    watch, unseen = load_watch(), load_watch(subset="test")
    scaler = ChannelScaler("standard").fit(watch.data)
    rows = [
        scaler.transform(part.data).reshape(len(part.data), -1)
        for part in (watch, unseen)
    ]
    pca = PCA(2, random_state=0).fit(rows[0])
    yield "PCA", *map(pca.transform, rows)
    models = {
        "the thread's VAE": ConvVAETransformer(2, random_state=0, **P2),
        "skvae": ConvVAETransformer(2, random_state=0),
        "skvae, with labels": ConvVAETransformer(2, label_weight=2.0, random_state=0),
    }
    for name, vae in models.items():
        vae.fit(watch.data, watch.target)
        yield name, vae.transform(watch.data), vae.transform(unseen.data)


def draw_latent_spaces():
    """Recordings of people whom training has not seen, in two latents of each."""
    watch, unseen = load_watch(), load_watch(subset="test")
    names = np.array(unseen.target_names)
    figure, axes = plt.subplots(1, 4, figsize=(10, 3.2), layout="constrained")
    for ax, (title, Z_train, Z) in zip(axes, latent_spaces(), strict=True):
        knn = KNeighborsClassifier().fit(Z_train, watch.target)
        accuracy = knn.score(Z, unseen.target)
        print(f"{title}: {accuracy:.3f}")
        LatentSpaceDisplay(Z, y=names[unseen.target]).plot(ax, s=14)
        legend = ax.get_legend()
        legend.remove()
        ax.set(
            title=f"{title}: {accuracy:.2f}", xlabel="", ylabel="", xticks=[], yticks=[]
        )
    style = {"ncols": 4, "frameon": False, "markerscale": 1.5}
    place = {"loc": "outside lower center"}
    figure.legend(legend.legend_handles, sorted(names), **style, **place)
    return figure


if __name__ == "__main__":
    path = FOLDER / "latent_space.png"
    save(draw_latent_spaces(), path)
    n_bytes = path.stat().st_size
    print(f"{path.name}: {n_bytes / 1000:.0f} kB")
    if n_bytes > MAX_BYTES:
        raise SystemExit(f"{path.name} is larger than {MAX_BYTES / 1000:.0f} kB.")
