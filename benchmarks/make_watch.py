"""Rebuild the recordings behind `skvae.datasets.load_watch`, byte for byte."""

import hashlib
import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

PACKAGED = Path(__file__).parents[1] / "skvae" / "datasets" / "data" / "watch.npz"
SOURCE_SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
WINDOW = 336
STEP = np.float32([0.01] * 3 + [0.02] * 3)  # g, g, g, rad/s, rad/s, rad/s
ADVICE = "Run: pip install --no-deps seglearn==1.2.5"


def load_recordings():
    """The recordings of seglearn, which is installed, not imported: a dict of lists."""
    spec = find_spec("seglearn")
    if spec is None:
        raise ModuleNotFoundError(f"seglearn is not installed. {ADVICE}")
    source = Path(spec.submodule_search_locations[0], "data", "watch_dataset.npy")
    content = source.read_bytes()
    # The file is a pickle, so nothing but the known one is ever opened.
    found = hashlib.sha256(content).hexdigest()
    if found != SOURCE_SHA256:
        raise ValueError(
            f"seglearn's {source.name} has SHA-256 {found}, but {SOURCE_SHA256} was "
            f"expected. {ADVICE}"
        )
    return np.load(io.BytesIO(content), allow_pickle=True).item()


def cut(recordings, stride=WINDOW):
    """Windows of each recording, in whole steps, as named arrays.

    A window begins every `stride` points; by default they do not overlap. Endianness
    and item sizes are spelled out: they are part of the bytes.
    """
    windows = [
        np.lib.stride_tricks.sliding_window_view(signal, WINDOW, axis=0)[::stride]
        for signal in recordings["X"]
    ]  # (n, c, t) each
    n_windows = [len(rows) for rows in windows]
    steps = np.round(np.concatenate(windows) / STEP.astype(float)[:, None])
    return {
        "data": np.ascontiguousarray(steps, dtype="<i2"),
        "step": STEP.astype("<f4"),
        "target": np.repeat(recordings["y"], n_windows).astype("u1"),
        "subject": np.repeat(recordings["subject"], n_windows).astype("u1"),
    }


def npz_bytes(arrays):
    """What `np.load` reads, the same on every machine.

    Not `np.savez_compressed`: its deflate has several implementations, which write
    different bytes, and needs 1.3 MB here; bzip2 has one, and needs 0.95.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, (1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, whenever it is written
            info.create_system = 3  # as on Unix, wherever it is written
            archive.writestr(info, member.getvalue(), zipfile.ZIP_BZIP2)
    return file.getvalue()


if __name__ == "__main__":
    PACKAGED.write_bytes(npz_bytes(cut(load_recordings())))
    print(f"{PACKAGED.name}: {PACKAGED.stat().st_size} bytes written")
