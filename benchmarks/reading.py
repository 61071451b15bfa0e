"""How long the main job takes to read two million cells, against pandas.read_csv."""

import contextlib
import io
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from skvae.command.table import read

N_ROUNDS = 7
SHAPES = (20_000, 100), (2_000, 1_000)
FORMS = {  # of the file: how it is written, and how pandas is told to read it
    "csv": ({}, {}),
    "csv.gz": ({}, {}),
    "tsv": ({"sep": "\t"}, {"sep": "\t"}),
    "semicolons, decimal commas": (2 * ({"sep": ";", "decimal": ","},)),
}


def seconds(function, *args, **kwargs):
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        function(*args, **kwargs)
    return time.perf_counter() - start


def main():
    print(f"Medians of {N_ROUNDS} interleaved rounds, pandas {pd.__version__}.")
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for shape in SHAPES:
            frame = pd.DataFrame(rng.normal(size=shape)).add_prefix("t")
            frame["class"] = rng.choice(["run", "walk"], shape[0])
            for form, (written, told) in FORMS.items():
                path = Path(folder) / f"x.{'csv.gz' if form == 'csv.gz' else 'csv'}"
                frame.to_csv(path, index=False, float_format="%.6g", **written)
                rounds = [
                    (seconds(read, path), seconds(pd.read_csv, path, **told))
                    for _ in range(N_ROUNDS)
                ]
                ratios = [own / other for own, other in rounds]
                own, other = (median(times) for times in zip(*rounds, strict=True))
                print(
                    f"{form:<28} {shape[0]:>6} x {shape[1]:<5} {own:.2f} s, pandas "
                    f"{other:.2f} s, ratio {median(ratios):.2f} "
                    f"({min(ratios):.2f} to {max(ratios):.2f})"
                )


if __name__ == "__main__":
    main()
