#!/usr/bin/env bash
# An OPUS file (Bruker) says how many of the stored points count (NPT) and with which
# factor (CSF). brukeropus follows both. brukeropusreader follows neither: the values
# are not scaled, the padding counts as data (its issue 30), and the axis of the
# wavenumbers is spread over it, so every point but the first lies elsewhere.
#
# Version: brukeropusreader 1.3.4, brukeropus 1.4.3, 2026-11-29
# Expected: four points in both, at 4000, 3000, 2000 and 1000 1/cm.
# Output:
#     brukeropusreader [1. 2. 3. 4. 0. 0.] at [4000. 3400. 2800. 2200. 1600. 1000.]
#     brukeropus [0.5 1.  1.5 2. ] at [4000. 3000. 2000. 1000.]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    brukeropusreader==1.3.4 brukeropus==1.4.3 numpy==2.3.5
venv/bin/python - <<'END'
import struct
from pathlib import Path

import brukeropus
import brukeropusreader
import numpy as np


def parameter(name, code, value):
    value = value if isinstance(value, bytes) else struct.pack("<" + "id"[code], value)
    size = len(value) // 2
    return name + struct.pack("<xHH", code, size) + value


status = [(b"DPF", 0, 1), (b"NPT", 0, 4), (b"FXV", 1, 4000.0), (b"LXV", 1, 1000.0)]
status += [(b"CSF", 1, 0.5), (b"MXY", 1, 2.0), (b"MNY", 1, 0.5), (b"DXU", 3, b"WN\0\0")]
status = b"".join(parameter(*item) for item in status) + b"END\0\0\0\0\0"
stored = np.array([1, 2, 3, 4, 0, 0], "<f4").tobytes()
directory = [(13 << 10, bytes(3 * 12)), (0x101F, status), (0x100F, stored)]
start, entries = 24, b""
for kind, block in directory:
    entries += struct.pack("<3i", kind, len(block) // 4, start)
    start += len(block)
head = b"\n\n\xfe\xfe" + struct.pack("<d3i", 920622.0, 24, 3, 3)
Path("x.0").write_bytes(head + entries + status + stored)

old = brukeropusreader.read_file("x.0")
print("brukeropusreader", old["AB"], "at", old.get_range("AB"))
new = brukeropus.read_opus("x.0").a
print("brukeropus", new.y, "at", new.x)
assert old["AB"].tolist() == [1, 2, 3, 4, 0, 0]
assert old.get_range("AB").tolist() == [4000, 3400, 2800, 2200, 1600, 1000]
assert new.y.tolist() == [0.5, 1, 1.5, 2]
assert new.x.tolist() == [4000, 3000, 2000, 1000]
END
