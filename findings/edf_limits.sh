#!/usr/bin/env bash
# EDF stores the limits of a signal in eight characters, and pyedflib truncates them.
# A signal far from zero comes back shifted. A signal in volts, as MNE holds EEG, is
# written but cannot be opened. The warning, "some loss of precision", is the same in
# all three cases.
#
# Version: pyedflib 0.1.42, 2026-11-29
# Expected: errors of at most a step, 1 / 65535 of the range, or an error of the
# writer.
# Output:
#     of 1: error 3.11e-05, 1.0 steps
#     of 1 around 123456: error 0.0999, 3273.4 steps
#     of 1e-6: written, then x.edf: the file is not EDF(+) or BDF(+) compliant (Physical Maximum)
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pyedflib==0.1.42 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
from pyedflib import highlevel

wave = np.sin(np.arange(200) / 9)


def round_trip(signal):
    header = highlevel.make_signal_header(
        "a", sample_frequency=100, physical_min=signal.min(), physical_max=signal.max()
    )
    highlevel.write_edf("x.edf", signal[None], [header])
    return highlevel.read_edf("x.edf")[0][0]


for name, signal in [
    ("of 1", wave),
    ("of 1 around 123456", wave + 123456),
]:
    step = np.ptp(signal) / 65535
    error = np.abs(round_trip(signal) - signal).max()
    print(f"{name}: error {error:.3g}, {error / step:.1f} steps")
    assert (error > 1000 * step) == ("around" in name)
try:
    round_trip(1e-6 * wave)
except OSError as error:
    print("of 1e-6: written, then", error)
else:
    raise AssertionError("opened")
END
