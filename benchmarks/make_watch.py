"""Rebuild the recordings behind `skvae.datasets.load_watch`, byte for byte.

They come from the seglearn package, which must be installed (`pip install
seglearn==1.2.5`) but is not imported: only its data file is read.

    python benchmarks/make_watch.py            # write the file in the package
    python benchmarks/make_watch.py --check    # compare it with what would be written
"""

import argparse
import hashlib
import io
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

PACKAGED = Path(__file__).parents[1] / "skvae" / "datasets" / "data" / "watch.npz"
SOURCE_SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
WINDOW = 336
STEP = np.float32([0.01] * 3 + [0.02] * 3)  # g, g, g, rad/s, rad/s, rad/s


def source_bytes():
    """The data file of the installed seglearn."""
    spec = find_spec("seglearn")
    if spec is None:
        sys.exit("seglearn is not installed. Run: pip install seglearn==1.2.5")
    source = Path(spec.submodule_search_locations[0], "data", "watch_dataset.npy")
    content = source.read_bytes()
    # The file is a pickle, so nothing but the known one is ever opened.
    found = hashlib.sha256(content).hexdigest()
    if found != SOURCE_SHA256:
        sys.exit(
            f"seglearn's {source.name} has SHA-256 {found}, but {SOURCE_SHA256} was "
            "expected. Run: pip install seglearn==1.2.5"
        )
    return content


def cut(recordings):
    """Windows that do not overlap, in whole steps, as named arrays.

    Endianness and item sizes are spelled out: they are part of the bytes.
    """
    n_windows = [len(signal) // WINDOW for signal in recordings["X"]]
    windows = np.concatenate(
        [
            signal[: n * WINDOW].reshape(n, WINDOW, -1)
            for signal, n in zip(recordings["X"], n_windows, strict=True)
        ]
    )  # (n, t, c)
    steps = np.round(windows / STEP.astype(float)).transpose(0, 2, 1)  # (n, c, t)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, default=PACKAGED)
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    args = parser.parse_args()

    recordings = np.load(io.BytesIO(source_bytes()), allow_pickle=True).item()
    content = npz_bytes(cut(recordings))
    if not args.check:
        args.file.write_bytes(content)
        print(f"{args.file.name}: {len(content)} bytes written")
    elif args.file.read_bytes() == content:
        print(f"{args.file.name}: the same {len(content)} bytes")
    else:
        sys.exit(f"{args.file.name} differs. Run this without --check to rebuild it.")


if __name__ == "__main__":
    main()
