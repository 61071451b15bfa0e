#!/usr/bin/env bash
# nemreader's wide frame joins registers of 5 and 30 minutes by start and end. No row
# has both, each half hour has two rows with the same start, and the second has no
# quality.
#
# Version: nemreader 0.9.2, 2026-11-29
# Expected: the half hour repeated or divided, or one frame per interval length.
# Output:
#               nmi             t_start               t_end   E1   E2 quality evt_code evt_desc
#     0  NMI0000001 2024-01-01 00:00:00 2024-01-01 00:05:00  1.0  NaN       A
#     1  NMI0000001 2024-01-01 00:00:00 2024-01-01 00:30:00  NaN  2.0     NaN      NaN      NaN
#     2  NMI0000001 2024-01-01 00:05:00 2024-01-01 00:10:00  1.0  NaN       A
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    nemreader==0.9.2 pandas==3.0.6 numpy==2.3.5
venv/bin/python - <<'END'
from pathlib import Path

from nemreader import NEMFile

lines = ["100,NEM12,202401010000,MDA1,Ret1"]
for register, minutes, value in (("E1", 5, "1"), ("E2", 30, "2")):
    lines.append(f"200,NMI0000001,E1E2,{register},{register},N1,M1,kWh,{minutes},")
    readings = ",".join([value] * (1440 // minutes))
    lines.append(f"300,20240101,{readings},A,,,20240201000000,")
Path("x.csv").write_text("\n".join([*lines, "900\n"]))

frame = NEMFile("x.csv").get_pivot_data_frame()
print(frame.head(3).to_string())
assert len(frame) == 288 + 48
assert not (frame["E1"].notna() & frame["E2"].notna()).any()
assert frame["t_start"].duplicated().sum() == 48
assert frame.loc[frame["E2"].notna(), "quality"].isna().all()
END
