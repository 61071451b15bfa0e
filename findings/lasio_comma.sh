#!/usr/bin/env bash
# A well log whose header says that commas divide the values (DLM). With a blank after
# the comma lasio reads three curves. Without it all values become depths, and the
# curves are NaN. The reader only logs that the curves have no data. lasio's own writer
# makes such a file.
#
# Version: lasio 0.32, 2026-11-29
# Expected: the same three curves.
# Output:
#     ', ' [[1.0, 2.5, 3.5], [2.0, 4.5, 5.5]]
#     ',' [[1.0, nan, nan], [2.5, nan, nan], [3.5, nan, nan], [2.0, nan, nan],
#          [4.5, nan, nan], [5.5, nan, nan]]
#     written by lasio [[1.0, nan], [2.5, nan], [2.0, nan], [4.5, nan]]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    lasio==0.32 pandas==3.0.6 numpy==2.3.5
venv/bin/python - <<'END'
import io

import lasio
import numpy as np

HEAD = "~Version\nVERS. 3.0 :\nWRAP. NO :\nDLM. COMMA :\n~Well\nSTRT.M 1 :\n"
HEAD += "STOP.M 2 :\nSTEP.M 1 :\nNULL. -999.25 :\n"
HEAD += "~Curve\nDEPT.M :\nGR.API :\nRT.OHMM :\n~ASCII\n"


def read(text):
    return lasio.read(io.StringIO(text)).df().reset_index().to_numpy()


rows = [("1.0", "2.5", "3.5"), ("2.0", "4.5", "5.5")]
for comma in (", ", ","):
    curves = read(HEAD + "\n".join(comma.join(row) for row in rows) + "\n")
    print(repr(comma), curves.tolist())
    if comma == ", ":
        assert curves.tolist() == [[1, 2.5, 3.5], [2, 4.5, 5.5]]
    else:
        assert curves[:, 0].tolist() == [1, 2.5, 3.5, 2, 4.5, 5.5]
        assert np.isnan(curves[:, 1:]).all()

log = lasio.LASFile()
log.append_curve("DEPT", [1.0, 2], unit="M")
log.append_curve("GR", [2.5, 4.5], unit="API")
log.version.DLM.value = "COMMA"
file = io.StringIO()
log.write(file, version=2.0, len_numeric_field=-1, lhs_spacer="", spacer=",")
assert file.getvalue().endswith("1.00000,2.50000\n2.00000,4.50000\n")
curves = read(file.getvalue())
print("written by lasio", curves.tolist())
assert curves[:, 0].tolist() == [1, 2.5, 2, 4.5] and np.isnan(curves[:, 1]).all()
END
