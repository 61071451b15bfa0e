"""Shared by all benchmarks: command line, interleaved timing, memory, tables."""

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch

HERE = Path(__file__).parent
PACKAGES = ("numpy", "scikit-learn", "torch", "skorch", "keras", "tensorflow-cpu")
PACKAGES += ("jax", "pythae", "aeon", "dask", "onnxruntime", "skl2onnx")
# Keys of a result that describe the machine; older results lack some of them.
MACHINE = ("commit", "versions", "threads", "cpu", "cores", "device")
TURNS = (
    "Medians of interleaved rounds. A ratio is the median of the rounds' ratios, with "
    "their range in brackets."
)


# --- The command line, and what it runs


class Part(NamedTuple):
    """A part of a benchmark.

    `tasks(size)` lists tasks, which are dicts. `measure(size, *task.values())` returns
    the figures of one task, a dict. `section(results)` returns the Markdown of all
    results without an error.
    """

    measure: Callable
    section: Callable | None = None
    tasks: Callable = lambda size: [{}]


def each(key, field):
    """`tasks` that give a key each value in a field of the size."""
    return lambda size: [{key: value} for value in getattr(size, field)]


def main(doc, name, parts, report, size, quick):
    """Run the parts named on the command line; results go to results/NAME.jsonl.

    `report` writes results/NAME.md, whose text is `report(results, folder)`; the folder
    holds results/ and figures/. With --quick, the size `quick` is measured and the
    report is printed, but nothing is kept.
    """
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("parts", nargs="+", choices=[*parts, "report"])
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="KEY=VALUE[,VALUE]", help="some tasks"
    )
    parser.add_argument("--quick", action="store_true", help="tiny, nothing is kept")
    args = parser.parse_args()
    wanted = dict(pair.split("=") for pair in args.only)
    with tempfile.TemporaryDirectory() as scratch:
        folder, size = (Path(scratch), quick) if args.quick else (HERE, size)
        path = folder / "results" / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        for part in parts:
            if part in args.parts:
                run(part, parts[part], size, path, wanted)
        if "report" in args.parts or args.quick:
            text = report(read(path), folder)
            path.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
            print(text)


def run(name, part, size, path, wanted=None):
    """Append a line of JSON for each task without one; an error is a result too.

    `wanted` limits the tasks: for each key, the allowed values as comma-separated text.
    """
    results, machine, wanted = read(path), environment(), wanted or {}
    for values in part.tasks(size):
        # The results of a benchmark's only part do not name it.
        task = values if name == "run" else {"part": name, **values}
        if any(task.items() <= result.items() for result in results) or not all(
            str(task.get(key)) in wanted[key].split(",") for key in wanted
        ):
            continue
        torch.set_num_threads(machine["threads"])  # aeon's MiniRocket changes it
        try:
            figures = part.measure(size, *values.values())
        except Exception as error:
            figures = {"error": describe_error(error)}
        results.append(task | figures | machine)
        print(json.dumps(task | figures)[:300], flush=True)
        with path.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")


def read(path):
    """The results in a file, or an empty list if there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def describe_error(error):
    return f"{type(error).__name__}: {error}"


def environment():
    """Commit (with a + if the package was edited since), versions and machine."""

    def git(*args):
        return subprocess.run(["git", *args], cwd=HERE, capture_output=True, text=True)

    machine = {"commit": "unknown", "versions": {"python": platform.python_version()}}
    with contextlib.suppress(OSError):  # no git
        commit = git("rev-parse", "--short", "HEAD").stdout.strip()
        edited = git("diff", "--quiet", "HEAD", "--", "../skvae").returncode
        machine["commit"] = commit + "+" * edited if commit else "unknown"
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            machine["versions"][name] = metadata.version(name)
    machine |= {"threads": torch.get_num_threads(), "cpu": platform.machine()}
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("model name"))
        machine["cpu"] = line.split(":")[1].strip()
    machine["cores"] = os.cpu_count()
    if torch.cuda.is_available():
        machine["device"] = torch.cuda.get_device_name()
    return machine


# --- Interleaved timing


def interleave(jobs, rounds, warm_up=0):
    """Call each job once per round, so that all see the same load of the machine.

    A job that raises is not called again. The results of the warm-up rounds, which come
    first, are dropped.

    Returns
    -------
    dict with "seconds", the list of each job's results by round, empty if it raised,
    and "errors", the messages of the jobs that raised.
    """
    results, errors = {name: [] for name in jobs}, {}
    for i, (name, job) in product(range(warm_up + rounds), jobs.items()):
        if name in errors:
            continue
        try:
            result = job()
        except Exception as error:
            errors[name], results[name] = describe_error(error), []
        else:
            results[name] += [result] * (i >= warm_up)
    return {"seconds": results, "errors": errors}


def seconds_of(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def fresh_process():
    """An executor of one spawned process, which shares no state with this one."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def call(process, function, *args):
    return process.submit(function, *args).result()


# --- Memory


@contextlib.contextmanager
def watched_memory():
    """A list to which the anonymous memory in use, in bytes, is added every 50 ms.

    Pages mapped from a file do not count, as the system may drop them at any time.
    """
    sizes, ended = [anonymous_memory()], threading.Event()

    def watch():
        while not ended.wait(0.05):
            sizes.append(anonymous_memory())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        ended.set()
        thread.join()
    sizes.append(anonymous_memory())


def anonymous_memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


# --- Tables


def table(columns, rows):
    """A table in Markdown, with a dash where a value is None or NaN.

    `columns` has a title and an optional format of each: "set | seconds:.2f".
    """
    titles, _, formats = zip(
        *(column.partition(":") for column in columns.split(" | ")), strict=True
    )
    lines = [titles, ["---"] * len(titles)]
    for row in rows:
        cells = zip(row, formats, strict=True)
        lines.append(
            ["-" if v is None or v != v else f"{v:{form}}" for v, form in cells]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(title, *paragraphs):
    return "\n\n".join([f"## {title}", *paragraphs])


def tabulated(title, columns, *notes):
    """Decorate a function from results to rows, to return their section instead."""
    return lambda rows: (
        lambda found: section(title, *notes, table(columns, rows(found)))
    )


def describe(results):
    """Commits, machines and versions of the results, and the tasks that failed."""
    commits = sorted({result["commit"] for result in results})
    versions = {f"{k} {v}" for r in results for k, v in r["versions"].items()}
    units = {"device": "", "cpu": "", "cores": " cores", "threads": " threads"}
    machines = {
        ", ".join(f"{result[key]}{units[key]}" for key in units if key in result)
        for result in results
    }
    lines = [
        f"{len(results)} results of skvae at {', '.join(commits)}; on "
        f"{'; '.join(sorted(machines))}; {', '.join(sorted(versions))}."
    ]
    for result in results:
        if "error" in result:
            task = [f"{k} {v}" for k, v in result.items() if k not in MACHINE]
            lines.append(f"- failed: {', '.join(task)}")
    return "\n".join(lines)


def report(title, parts, results, folder):
    """The sections of all parts that have results."""
    finished = [result for result in results if "error" not in result]
    texts = [f"# {title}", describe(results)]
    texts += [TURNS] * any("seconds" in result for result in finished)
    for name, part in parts.items():
        own = [result for result in finished if result.get("part", "run") == name]
        if own:
            texts.append(part.section(own))
    return "\n\n".join(texts)


def turns(result, first):
    """Yield name, median and ratio to the first of each job of `interleave`.

    The ratio is text; a job that raised has its message instead.
    """
    seconds, errors = result["seconds"], result.get("errors", {})
    for name, values in seconds.items():
        text = errors.get(name)
        if not (text or first in errors):
            text = ratio(values, seconds[first])
        yield name, median(values), text


def median(values):
    return statistics.median(values) if values else None


def ratio(values, references):
    """Median and range of the rounds' ratios, as text."""
    ratios = [a / b for a, b in zip(values, references, strict=True)]
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
