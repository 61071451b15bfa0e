"""The pictures of the README, of signals of people whom training has not seen."""

from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from skvae import ConvVAETransformer
from skvae.datasets import load_watch
from skvae.plotting import LatentSpaceDisplay, ReconstructionDisplay

FOLDER = Path(__file__).parent / "figures"
MAX_BYTES = 150_000

matplotlib.use("agg")


def save(figure, path):
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=100)
    # 256 colours are enough, and a third of the bytes.
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def displays():
    """Yield the name and the display of each picture."""
    watch = load_watch()
    seen, unseen = watch.data, load_watch(subset="test")
    classes = np.array(unseen.target_names)[unseen.target]
    vae = ConvVAETransformer(random_state=0).fit(seen)
    options = {"method": "tsne", "compare": "tsne", "random_state": 0}
    display = LatentSpaceDisplay.from_estimator(vae, unseen.data, classes, **options)
    yield "latent_space", display

    names = ["ax", "wy"]
    pair = [unseen.channel_names.index(name) for name in names]
    vae = ConvVAETransformer(random_state=0).fit(seen[:, pair])
    options = {"n_samples": 3, "random_state": 0, "channel_names": names}
    display = ReconstructionDisplay.from_estimator(
        vae, unseen.data[:, pair], samples="random", **options
    )
    yield "reconstructions", display


if __name__ == "__main__":
    for name, display in displays():
        path = FOLDER / f"{name}.png"
        save(display.figure_, path)
        n_bytes = path.stat().st_size
        print(f"{path.name}: {n_bytes / 1000:.0f} kB")
        if n_bytes > MAX_BYTES:
            raise SystemExit(f"{path.name} is larger than {MAX_BYTES / 1000:.0f} kB.")
