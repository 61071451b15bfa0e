#!/usr/bin/env bash
# aeon and sktime convert the labels of a .ts file to lower case, so classes that
# differ by case become one. sktime returns the numbers of a regression file as text,
# aeon as numbers.
#
# Version: aeon 1.6.0, sktime 1.2.0, 2026-11-29
# Expected: labels as in the file, and numbers as numbers.
# Output:
#     classes aeon ['pv', 'pv'] sktime ['pv', 'pv']
#     numbers aeon [1.5, 10.5] sktime ['1.5', '10.5']
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    aeon==1.6.0 sktime==1.2.0 pandas==3.0.6 numpy==2.3.5
venv/bin/python - <<'END'
import warnings
from pathlib import Path

warnings.simplefilter("ignore", FutureWarning)
from aeon.datasets import load_from_ts_file
from sktime.datasets import load_from_tsfile

HEAD = "@problemName x\n@timeStamps false\n@missing false\n@univariate true\n"
HEAD += "@equalLength true\n@seriesLength 3\n"
classes = "@classLabel true pv PV\n@data\n1,2,3:pv\n4,5,6:PV\n"
numbers = "@targetLabel true\n@data\n1,2,3:1.5\n4,5,6:10.5\n"
for name, text, aeon, sktime in [
    ("classes", classes, ["pv", "pv"], ["pv", "pv"]),
    ("numbers", numbers, [1.5, 10.5], ["1.5", "10.5"]),
]:
    Path("x.ts").write_text(HEAD + text)
    of_aeon = load_from_ts_file("x.ts")[1].tolist()
    of_sktime = load_from_tsfile("x.ts")[1].tolist()
    print(name, "aeon", of_aeon, "sktime", of_sktime)
    assert of_aeon == aeon and of_sktime == sktime
END
