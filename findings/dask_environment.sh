#!/usr/bin/env bash
# Dask's nanny sets variables in the environment of the process that starts a cluster,
# and leaves them there. They win over the configuration, so that a later cluster
# ignores what is configured for it. Other processes that are started later run with
# one thread, and hash text alike.
#
# Version: distributed 2026.8.0, dask 2026.8.0, numpy 2.3.5, 2026-11-29
# Expected: an environment as before, and four threads in the second cluster's worker.
# Output:
#     left: MALLOC_TRIM_THRESHOLD_=65536, MKL_NUM_THREADS=1, OMP_NUM_THREADS=1,
#       OPENBLAS_NUM_THREADS=1, PYTHONHASHSEED=6640
#     second cluster, configured for 4 threads: 1
#     BLAS threads of another process: before [2], after [1]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    dask==2026.8.0 distributed==2026.8.0 numpy==2.3.5 threadpoolctl==3.8.0
cat > clusters.py <<'END'
import os
import subprocess
import sys

import dask
from dask.distributed import Client

COUNT = """
import numpy, threadpoolctl
print([pool["num_threads"] for pool in threadpoolctl.threadpool_info()])
"""
OPTIONS = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}


def blas_threads():
    command = [sys.executable, "-c", COUNT]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    before, count = dict(os.environ), blas_threads()
    with Client(**OPTIONS):
        pass
    names = sorted(name for name in {*os.environ} - {*before} if name[:2] != "__")
    left = {name: os.environ[name] for name in names}
    print("left:", ", ".join(f"{name}={value}" for name, value in left.items()))
    dask.config.set({"distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": 4})
    with Client(**OPTIONS) as client:
        (threads,) = client.run(lambda: os.environ["OMP_NUM_THREADS"]).values()
    print("second cluster, configured for 4 threads:", threads)
    print(f"BLAS threads of another process: before {count}, after {blas_threads()}")
    assert left["OMP_NUM_THREADS"] == "1"
    assert left["MALLOC_TRIM_THRESHOLD_"] == "65536"
    assert left["PYTHONHASHSEED"] == "6640"
    assert threads == "1"
    assert blas_threads() == "[1]"
END
env -u OMP_NUM_THREADS -u MKL_NUM_THREADS -u OPENBLAS_NUM_THREADS -u PYTHONHASHSEED \
    -u MALLOC_TRIM_THRESHOLD_ venv/bin/python clusters.py
