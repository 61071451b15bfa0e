"""What every benchmark shares: running and resuming, turns, machine, tables."""

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
PACKAGES += ("jax", "pythae", "aeon", "dask")
# What a line tells of the machine; older lines lack some of it.
MACHINE = ("commit", "versions", "threads", "cpu", "cores", "device")
TURNS = (
    "Medians of interleaved rounds; a ratio is the median of the rounds' ratios, its "
    "range in brackets."
)


# --- The command line, and what it runs


class Part(NamedTuple):
    """`measure(size, *values)` gives figures of one of the `tasks(size)`, all dicts.

    `section(results)` of those that did not fail gives text for the report.
    """

    measure: Callable
    section: Callable | None = None
    tasks: Callable = lambda size: [{}]


def each(key, field):
    """Tasks that differ in one value, of those that a field of the size lists."""
    return lambda size: [{key: value} for value in getattr(size, field)]


def main(doc, name, parts, report, size, quick):
    """Run `PART ...`, of a dict; `report` writes tables beside results/NAME.jsonl.

    `report(results, folder)` makes their text; the folder holds results/ and figures/.
    With --quick the other size is measured, shown and not kept.
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
    """Append a line of JSON for each task that has none yet; a failure is a result.

    Wanted are tasks whose values are among these, which are given as text.
    """
    results, machine, wanted = read(path), environment(), wanted or {}
    for values in part.tasks(size):
        # The only part of a benchmark is not named in its lines.
        task = values if name == "run" else {"part": name, **values}
        if any(task.items() <= result.items() for result in results) or not all(
            str(task.get(key)) in wanted[key].split(",") for key in wanted
        ):
            continue
        torch.set_num_threads(machine["threads"])  # aeon's MiniRocket changes it
        try:
            figures = part.measure(size, *values.values())
        except Exception as error:
            figures = {"error": tell(error)}
        results.append(task | figures | machine)
        print(json.dumps(task | figures)[:300], flush=True)
        with path.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")


def read(path):
    """The results in a file; none where there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def tell(error):
    return f"{type(error).__name__}: {error}"


def environment():
    """The commit, with a + if the package was edited since, versions, machine."""

    def git(*args):
        return subprocess.run(["git", *args], cwd=HERE, capture_output=True, text=True)

    found = {"commit": "unknown", "versions": {"python": platform.python_version()}}
    with contextlib.suppress(OSError):  # no git
        commit = git("rev-parse", "--short", "HEAD").stdout.strip()
        edited = git("diff", "--quiet", "HEAD", "--", "../skvae").returncode
        found["commit"] = commit + "+" * edited if commit else "unknown"
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found["versions"][name] = metadata.version(name)
    found |= {"threads": torch.get_num_threads(), "cpu": platform.machine()}
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("model name"))
        found["cpu"] = line.split(":")[1].strip()
    found["cores"] = os.cpu_count()
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
    return found


# --- Taking turns


def interleave(jobs, rounds, warm_up=0):
    """Call each job in turn, round after round, so that all see the same machine.

    A job that fails is not called again. The rounds to warm up come first, and what is
    returned in them is dropped.

    Returns
    -------
    dict of "seconds", what each job returned, by round, nothing if it failed; and of
    "errors", what each job that failed said.
    """
    found, errors = {name: [] for name in jobs}, {}
    for i, (name, job) in product(range(warm_up + rounds), jobs.items()):
        if name in errors:
            continue
        try:
            result = job()
        except Exception as error:
            errors[name], found[name] = tell(error), []
        else:
            found[name] += [result] * (i >= warm_up)
    return {"seconds": found, "errors": errors}


def seconds_of(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def fresh_process():
    """An executor in one spawned process, of which nothing is shared."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def call(process, function, *args):
    return process.submit(function, *args).result()


# --- Memory


@contextlib.contextmanager
def watched_memory():
    """A list that grows by the anonymous memory in use, every 50 ms, in bytes.

    What is mapped from a file is not in it, for the system may drop it any time.
    """
    found, ended = [anonymous_memory()], threading.Event()

    def watch():
        while not ended.wait(0.05):
            found.append(anonymous_memory())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
    found.append(anonymous_memory())


def anonymous_memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


# --- Tables


def table(columns, rows):
    """Markdown of rows; a dash where there is no figure.

    Columns are titles with their formats, as "set | seconds:.2f"; without one for text.
    """
    titles, _, formats = zip(
        *(column.partition(":") for column in columns.split(" | ")), strict=True
    )
    lines = [titles, ["---"] * len(titles)]
    for row in rows:
        cells = zip(row, formats, strict=True)
        lines.append(["-" if is_missing(v) else f"{v:{form}}" for v, form in cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def is_missing(value):
    return value is None or value != value  # NaN


def section(title, *paragraphs):
    return "\n\n".join([f"## {title}", *paragraphs])


def tabulated(title, columns, *notes):
    """Decorate a function that gives rows for results: it gives their section."""
    return lambda rows: (
        lambda found: section(title, *notes, table(columns, rows(found)))
    )


def describe(results):
    """What ran on what, and the tasks that failed."""
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
    """Tables of all parts of which there are results."""
    finished = [result for result in results if "error" not in result]
    texts = [f"# {title}", describe(results)]
    texts += [TURNS] * any("seconds" in result for result in finished)
    for name, part in parts.items():
        found = [result for result in finished if result["part"] == name]
        if found:
            texts.append(part.section(found))
    return "\n\n".join(texts)


def turns(result, first):
    """Yield what took turns: name, median, and its ratio to the first's, as text.

    In place of the ratio of one that failed stands what its error says.
    """
    seconds, errors = result["seconds"], result.get("errors", {})
    for name, values in seconds.items():
        told = errors.get(name)
        if not (told or first in errors):
            told = ratio(values, seconds[first])
        yield name, median(values), told


def median(values):
    return statistics.median(values) if values else None


def ratio(values, others):
    """Median and range of the rounds' ratios, as text."""
    found = [a / b for a, b in zip(values, others, strict=True)]
    return f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
