#!/usr/bin/env bash
# An evenly sampled signal of 120 s at 4096 Hz, written with the defaults of pyuff
# (UFF 58 as text), gets the uneven form, whose times have six digits: after 100 s four
# samples share a time, on average. abscissa_spacing=1 rounds the step instead, and the
# last sample is 0.18 ms off. The same signal in binary keeps its times.
#
# Version: pyuff 2.5.8, 2026-11-29
# Expected: the times that were written, to a small part of a step (0.24 ms).
# Output:
#     {} 429601 of 491520 times, off by up to 0.500 ms
#     {'abscissa_spacing': 1} 491520 of 491520 times, off by up to 0.184 ms
#     {'binary': 1} 491520 of 491520 times, off by up to 0.000 ms
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pyuff==2.5.8 numpy==2.3.5
venv/bin/python - <<'END'
from pathlib import Path

import numpy as np
import pyuff

times = np.arange(120 * 4096) / 4096
node = dict.fromkeys(("rsp_node", "rsp_dir", "ref_node", "ref_dir"), 1)
kinds = {"abscissa": 17, "ordinate": 12, "orddenom": 0, "z_axis": 0}
kinds = {f"{axis}_spec_data_type": kind for axis, kind in kinds.items()}


def read(**form):
    """Return the times as they come back."""
    Path("x.uff").unlink(missing_ok=True)
    signal = pyuff.prepare_58(
        func_type=1, x=times, data=np.sin(times), **node, **kinds, **form
    )
    pyuff.UFF("x.uff").write_sets(signal)
    back = pyuff.UFF("x.uff").read_sets()
    assert len(back["x"]) == len(times) and np.allclose(back["data"], np.sin(times))
    late = 1000 * abs(back["x"] - times).max()
    distinct = len(np.unique(back["x"]))
    print(form, f"{distinct} of {len(times)} times, off by up to {late:.3f} ms")
    return distinct, late


distinct, late = read()
assert distinct == 429601 and late > 0.49
distinct, late = read(abscissa_spacing=1)
assert distinct == len(times) and late > 0.18
distinct, late = read(binary=1)
assert distinct == len(times) and late == 0
END
