#!/usr/bin/env bash
# aeon's MiniRocket restores numba's number of threads, but numba's OpenMP layer is
# PyTorch's too. After `transform`, a PyTorch that was limited to one thread uses all
# cores, which slows small networks down, in several processes many times.
#
# Version: aeon 1.6.0, numba 0.63.1, torch 2.13.0, 2026-11-29
# Expected: 1, as `n_jobs=1` says, and as it is after `fit`.
# Output, with 2 cores:
#     PyTorch's threads: before 1, after fit 1, after transform 2
#     layer of numba: omp
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    aeon==1.6.0 numba==0.63.1 torch==2.13.0
venv/bin/python - <<'END'
import os

import numba
import numpy as np
import torch
from aeon.transformations.collection.convolution_based import MiniRocket

torch.set_num_threads(1)
X = np.random.default_rng(0).standard_normal((20, 1, 100)).astype(np.float32)
rocket = MiniRocket(84, n_jobs=1).fit(X)
fitted = torch.get_num_threads()
rocket.transform(X)
after = torch.get_num_threads()
print(f"PyTorch's threads: before 1, after fit {fitted}, after transform {after}")
print("layer of numba:", numba.threading_layer())
assert numba.threading_layer() == "omp"
assert (fitted, after) == (1, len(os.sched_getaffinity(0)))
assert after > 1, "needs two cores"
END
