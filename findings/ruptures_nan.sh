#!/usr/bin/env bash
# One NaN hides a step from ruptures' KernelCPD, and gives its Pelt a change at every
# fifth sample. Neither raises an error or warns. Without the NaN, Pelt misses the
# place, as it looks at every fifth sample by default.
#
# Version: ruptures 1.1.10, 2026-11-29
# Expected: the change at 103 without the NaN, an error with it.
# Output:
#     KernelCPD  without NaN [103, 201]  with NaN [201]
#     Pelt       without NaN [105, 201]  with NaN [10, 15, 20, 25, 30, 35, 40, ...
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    ruptures==1.1.10 scipy==1.17.1 numpy==2.3.5
venv/bin/python -W error - <<'END'
import numpy as np
import ruptures

signal = np.random.default_rng(0).normal(scale=0.05, size=201)
signal[103:] += 1
gap = signal.copy()
gap[5] = np.nan
changes = {}
for model in [ruptures.KernelCPD(kernel="linear"), ruptures.Pelt(model="l2")]:
    found = [list(map(int, model.fit(x).predict(pen=1))) for x in (signal, gap)]
    name = type(model).__name__
    print(f"{name:10} without NaN {found[0]}  with NaN {found[1]}")
    changes[name] = found
assert changes["KernelCPD"] == [[103, 201], [201]]
assert changes["Pelt"] == [[105, 201], [*range(10, 200, 5), 201]]
END
