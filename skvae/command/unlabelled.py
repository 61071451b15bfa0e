"""The job on signals without labels: latents, the oddest signals, model and figure."""

import time
import warnings

import joblib
import numpy as np
import pandas as pd
from scipy.stats import rankdata

from skvae import ConvVAETransformer
from skvae.command.figure import draw

N_LATENTS, N_ODD, N_DRAWN = 8, 10, 3


def run(signals, options):
    """Fit, write and print; return the latents, a DataFrame with the file's index."""
    X, index, folder = signals.X_train, signals.index, options.output
    n_signals, n_channels, n_timepoints = X.shape
    if n_signals < 2:
        raise SystemExit(f"{options.data}: one signal. Expected more, a line each.")
    size = f"{n_signals} signals of {n_channels} x {n_timepoints} values"
    print(f"{size}, without labels.", flush=True)
    start = time.perf_counter()
    vae = ConvVAETransformer(N_LATENTS, random_state=0).fit(X)
    Z, reconstructed = vae.transform(X), vae.reconstruct(X)
    seconds = time.perf_counter() - start
    latents = pd.DataFrame(Z, index=index).add_prefix("latent_")
    share = 1 - np.nanvar(X - reconstructed) / max(np.nanvar(X), 1e-300)
    print(
        f"{Z.shape[1]} latents, fitted in {seconds:.1f} s, keep {share:.0%} of the "
        "variance."
    )
    odd = oddness(X, reconstructed)
    oddest = odd.argsort()[::-1][:N_ODD]
    names = [" ".join(map(str, np.atleast_1d(key))) for key in index[oddest]]
    if not index.is_unique:
        names = [f"{key} (row {i})" for key, i in zip(names, oddest, strict=True)]
    key = ", ".join(str(name) for name in index.names if name) or "row, from 0"
    print(f"\nThe oddest signals, by {key}, and oddness (median {np.median(odd):.1f}):")
    for name, value in zip(names, odd[oddest], strict=True):
        print(f"  {name:<40}  {value:8.1f}")
    signals.name_time_steps(vae)
    latents.to_csv(folder / "latents.csv")
    joblib.dump(vae, folder / "vae.joblib")
    print(f"\nWritten to {folder}: latents.csv, vae.joblib", end="", flush=True)
    n_drawn = min(N_DRAWN, n_signals)
    titles = f"Latents of {n_signals} signals", "The oddest signals"
    oddest = {"n_samples": n_drawn, "samples": oddest[:n_drawn], "names": names}
    print(draw(folder / "figure.png", vae, X, None, titles=titles, **oddest))
    print("\nTo use the model:")
    print(f"  vae = joblib.load({str(folder / 'vae.joblib')!r})")
    print(f"  vae.transform(X)  # X an array of shape {signals.shape}")
    print("\nNext, if a column of the file holds labels, or numbers to predict:")
    print(f"  python -m skvae --data {options.data} --label COLUMN")
    return latents


def oddness(X, reconstructed):
    """Oddness (n,) of signals X (n, c, t), by README's recipe.

    It is the mean of 1 / p over channels and over statistics of the signal and of its
    residuals; p is the share of signals that are as extreme.
    """
    residuals = X - reconstructed
    jumps = np.diff(residuals)
    with warnings.catch_warnings():  # a channel may have no value
        warnings.filterwarnings("ignore", "Mean of empty|Degrees of freedom|All-NaN")
        parts = [f(x, axis=-1) for x in (X, residuals) for f in (np.nanmean, np.nanstd)]
        parts += [np.nanstd(jumps, axis=-1), np.nanmax(np.abs(jumps), axis=-1)]
        share = rankdata(parts, axis=1, nan_policy="omit") / (len(X) + 1)
        p = 2 * np.minimum(share, 1 - share)
        return np.nanmean(1 / p, axis=(0, 2))
