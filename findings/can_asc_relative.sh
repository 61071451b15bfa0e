#!/usr/bin/env bash
# An ASC log of a CAN bus may count the time of each message from the one before: its
# second line then ends in "timestamps relative". python-can reads that word and does
# not use it: three messages 0.1 s apart all come at 0.1 s, as in a log with absolute
# times that says so.
#
# Version: python-can 4.6.1, 2026-11-29
# Expected: 0.1, 0.2 and 0.3 s, or an error.
# Output:
#     relative [0.1, 0.1, 0.1]
#     absolute [0.1, 0.1, 0.1]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check python-can==4.6.1
venv/bin/python - <<'END'
from pathlib import Path

import can

for kind in ("relative", "absolute"):
    lines = ["date Mon Jan 1 00:00:00.000 2024", f"base hex  timestamps {kind}"]
    lines += ["internal events logged"]
    lines += ["Begin Triggerblock Mon Jan 1 00:00:00.000 2024"]
    lines += ["   0.000000 Start of measurement"]
    lines += [f"   0.100000 1  10  Rx   d 1 0{value}" for value in (1, 2, 3)]
    Path("x.asc").write_text("\n".join([*lines, "End TriggerBlock", ""]))
    reader = can.ASCReader("x.asc")
    messages = list(reader)
    assert [message.data[0] for message in messages] == [1, 2, 3]
    times = [message.timestamp for message in messages]
    print(kind, times)
    assert times == [0.1, 0.1, 0.1] and reader.timestamps_format == kind
END
