#!/usr/bin/env bash
# One NaN in a thousand samples of noise makes the sample entropy of antropy and the
# dispersion entropy of EntropyHub 0, as of a signal that repeats itself. antropy's
# permutation entropy is NaN; EntropyHub's counts the NaN as a rank.
#
# Version: antropy 0.2.3, EntropyHub 2.0, 2026-11-29
# Expected: NaN or an error.
# Output:
#     antropy sample_entropy    2.212 with NaN -0.000
#     antropy spectral_entropy  8.331 with NaN -0.000
#     antropy perm_entropy      2.583 with NaN nan
#     EntropyHub DispEn         2.195 with NaN -0.000
#     EntropyHub PermEn         1.000 with NaN 1.000
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    antropy==0.2.3 EntropyHub==2.0 numba==0.63.1 scikit-learn==1.9.1 numpy==2.3.5
venv/bin/python -W ignore - <<'END'
import antropy
import EntropyHub
import numpy as np

noise = np.random.default_rng(0).normal(size=1000)
gap = noise.copy()
gap[500] = np.nan
measures = {
    "antropy sample_entropy": antropy.sample_entropy,
    "antropy spectral_entropy": lambda x: antropy.spectral_entropy(x, 100),
    "antropy perm_entropy": antropy.perm_entropy,
    "EntropyHub DispEn": lambda x: EntropyHub.DispEn(x)[0],
    "EntropyHub PermEn": lambda x: EntropyHub.PermEn(x)[0][-1],
}
found = []
for name, measure in measures.items():
    found.append((measure(noise), measure(gap)))
    print("{:25} {:.3f} with NaN {:.3f}".format(name, *found[-1]))
assert all(without > 2 and with_nan == 0 for without, with_nan in found[:2])
assert np.isnan(found[2][1])
assert found[3][0] > 2 and found[3][1] == 0 and found[4][1] > 0.99
END
