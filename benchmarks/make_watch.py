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
    """seglearn's recordings, a dict of lists, read without importing seglearn."""
    spec = find_spec("seglearn")
    if spec is None:
        raise ModuleNotFoundError(f"seglearn is not installed. {ADVICE}")
    source = Path(spec.submodule_search_locations[0], "data", "watch_dataset.npy")
    content = source.read_bytes()
    # The file is a pickle, which could run any code: only the known one is opened.
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != SOURCE_SHA256:
        raise ValueError(
            f"seglearn's {source.name} has SHA-256 {sha256}, but {SOURCE_SHA256} was "
            f"expected. {ADVICE}"
        )
    return np.load(io.BytesIO(content), allow_pickle=True).item()


def cut(recordings):
    """Windows that do not overlap, in whole steps of the sensor, as named arrays.

    Byte order and item sizes are explicit, since they determine the file's bytes.
    """
    windows = [
        np.lib.stride_tricks.sliding_window_view(signal, WINDOW, axis=0)[::WINDOW]
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
    """The bytes of an .npz file, the same on every machine.

    `np.savez_compressed` uses deflate, whose implementations write different bytes, and
    needs 1.3 MB here; bzip2 has one implementation and needs 0.95 MB.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, (1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980
            info.create_system = 3  # Unix
            archive.writestr(info, member.getvalue(), zipfile.ZIP_BZIP2)
    return file.getvalue()


if __name__ == "__main__":
    PACKAGED.write_bytes(npz_bytes(cut(load_recordings())))
    print(f"{PACKAGED.name}: {PACKAGED.stat().st_size} bytes written")
