#!/usr/bin/env bash
# The file keeps the interval between samples, 333.3 us for 3000 Hz, as a float.
# pyabf cuts the rate that results, 2999.9999, to 2999 Hz, also in a file that it wrote
# itself. neo reads 3000 Hz.
#
# Version: pyabf 2.3.8, neo 0.14.6, 2026-11-29
# Expected: 3000 Hz and 44100 Hz in both.
# Output:
#     3000 Hz: pyabf 2999 Hz, last sample at 20.0063 s
#     3000 Hz: neo 3000.000 Hz, last sample at 19.9997 s
#     44100 Hz: pyabf 44099 Hz, last sample at 20.0004 s
#     44100 Hz: neo 44099.999 Hz, last sample at 20.0000 s
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pyabf==2.3.8 neo==0.14.6 numpy==2.3.5
venv/bin/python - <<'END'
import logging

import neo
import numpy as np
import pyabf
from pyabf.abfWriter import writeABF1

logging.disable()
for rate in (3000, 44100):
    writeABF1(np.zeros((1, 20 * rate)), "x.abf", rate, "mV")
    abf = pyabf.ABF("x.abf")
    signal = neo.AxonIO("x.abf").read_block().segments[0].analogsignals[0]
    assert abf.sweepPointCount == len(signal) == 20 * rate
    neo_rate = float(signal.sampling_rate.rescale("Hz"))
    last = float(signal.times[-1].rescale("s"))
    end = f"Hz, last sample at {abf.sweepX[-1]:.4f} s"
    print(f"{rate} Hz: pyabf {abf.dataRate}", end)
    print(f"{rate} Hz: neo {neo_rate:.3f} Hz, last sample at {last:.4f} s")
    assert abf.dataRate == rate - 1
    assert abs(neo_rate - rate) < 0.01 and abs(last - 20) < 0.001
END
