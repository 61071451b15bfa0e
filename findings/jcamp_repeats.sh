#!/usr/bin/env bash
# jcamp reads the repeat count (DUP) of a difference as one character, and appends the
# remaining characters to the difference as digits. A repeat of a value that is not a
# difference raises IndexError. x and y then have unequal lengths, which is only
# printed.
#
# Version: jcamp 1.3.2, 2026-11-29
# Expected: J0 is a difference of 10, and S0 repeats it ten times: 10, 20, ... 110.
# Output:
#     1A0J0s x 10 y [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0]
#     Mismatch of array lengths found: len(x) is 11 and len(y) 2.
#     1A0J0S0 x 11 y [10.0, 110.0]
#     Mismatch of array lengths found: len(x) is 13 and len(y) 2.
#     1A0J0S2 x 13 y [10.0, 112.0]
#     1A0TB0, which is 10 10 20: string index out of range
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    jcamp==1.3.2 numpy==2.3.5
venv/bin/python - <<'END'
import jcamp

HEAD = "##TITLE=a\n##JCAMP-DX=4.24\n##DATA TYPE=INFRARED SPECTRUM\n##XUNITS=1/CM\n"
HEAD += "##YUNITS=ABSORBANCE\n##XFACTOR=1\n##YFACTOR=1\n##FIRSTX=1\n##DELTAX=1\n"


def read(line, n):
    data = f"##LASTX={n}\n##NPOINTS={n}\n##XYDATA=(X++(Y..Y))\n{line}\n##END=\n"
    spectrum = jcamp.read((HEAD + data).splitlines(keepends=True))
    print(line, "x", len(spectrum["x"]), "y", spectrum["y"].tolist())
    return spectrum["y"].tolist()


assert read("1A0J0s", 10) == [*range(10, 101, 10)]  # s: nine times
assert read("1A0J0S0", 11) == [10, 110]  # S0: ten times
assert read("1A0J0S2", 13) == [10, 112]  # S2: twelve times
try:
    read("1A0TB0", 3)
except IndexError as error:
    print("1A0TB0, which is 10 10 20:", error)
else:
    raise AssertionError("read")
END
