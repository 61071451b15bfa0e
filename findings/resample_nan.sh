#!/usr/bin/env bash
# One NaN in 10 000 samples makes soxr's whole output NaN, if the rate falls to a tenth.
# At half the rate it is a third of the output. With other resamplers the NaN spreads
# as far as the filter, 22 to 285 samples.
#
# Version: soxr 1.1.0, samplerate 0.2.4, resampy 0.4.3, scipy 1.17.1, 2026-11-29
# Expected: as the others.
# Output:
#     rate / 2: 5000 samples, NaN: soxr 1660, samplerate 285, resampy 99, scipy 22
#     rate / 10: 1000 samples, NaN: soxr 1000, samplerate 285, resampy 99, scipy 22
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    soxr==1.1.0 samplerate==0.2.4 resampy==0.4.3 scipy==1.17.1 numpy==2.3.5
venv/bin/python -W ignore - <<'END'
import numpy as np
import resampy
import samplerate
import scipy.signal
import soxr

signal = np.random.default_rng(0).normal(size=10_000)
signal[5000] = np.nan
for factor in [2, 10]:
    outputs = {
        "soxr": soxr.resample(signal, factor, 1),
        "samplerate": samplerate.resample(signal, 1 / factor),
        "resampy": resampy.resample(signal, factor, 1),
        "scipy": scipy.signal.resample_poly(signal, 1, factor),
    }
    lost = {name: int(np.isnan(output).sum()) for name, output in outputs.items()}
    text = ", ".join(f"{name} {n}" for name, n in lost.items())
    print(f"rate / {factor}: {10_000 // factor} samples, NaN: {text}")
    assert lost.pop("soxr") > 10_000 / factor / 4 and max(lost.values()) < 300
assert np.isnan(outputs["soxr"]).all()
END
