"""What every benchmark shares: running and resuming, turns, machine, tables."""

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import platform
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from itertools import product
from pathlib import Path

import torch

HERE = Path(__file__).parent
PACKAGES = ("numpy", "scikit-learn", "torch", "skorch", "keras", "tensorflow-cpu")
PACKAGES += ("jax", "pythae", "aeon")
# What a line tells of the machine; older lines lack some of it.
MACHINE = ("commit", "versions", "threads", "cpu", "cores", "device")
TURNS = (
    "Medians of interleaved rounds; a ratio is the median of the rounds' ratios, its "
    "range in brackets."
)


# --- The command line, and what it runs


def main(doc, name, parts, report, size, quick):
    """`PART ...` runs parts, `report` writes the tables beside the results.

    Parameters
    ----------
    doc : str
        What the benchmark is: its help.
    name : str
        Results are lines of results/NAME.jsonl, tables results/NAME.md.
    parts : dict
        Of functions of a size, which yield pairs: a task, which is a dict, and a
        function that measures it and returns a dict of figures.
    report : callable
        Makes the text of the tables from a list of results and the folder that holds
        results/ and figures/.
    size, quick : object
        How much is measured, and with --quick, whose results are shown and not kept.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=[*parts, "report"])
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="KEY=VALUE[,VALUE]", help="some tasks"
    )
    parser.add_argument("--quick", action="store_true", help="tiny, nothing is kept")
    args = parser.parse_args()
    wanted = dict(pair.split("=") for pair in args.only)
    with contextlib.ExitStack() as stack:
        folder = HERE
        if args.quick:
            folder, size = (
                Path(stack.enter_context(tempfile.TemporaryDirectory())),
                quick,
            )
        path = folder / "results" / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        for part in parts:
            if part in args.parts:
                run(chosen(named(part, parts[part](size)), wanted), path)
        if "report" in args.parts or args.quick:
            text = report(read(path), folder)
            path.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
            print(text)


def named(part, tasks):
    """The tasks, which name their part where there are several to tell apart."""
    for task, measure in tasks:
        yield {"part": part, **task} if part != "run" else task, measure


def chosen(tasks, wanted):
    """The tasks whose values are among the wanted ones, which are given as text."""
    for task, measure in tasks:
        if all(str(task.get(key)) in wanted[key].split(",") for key in wanted):
            yield task, measure


def run(tasks, path):
    """Append a line of JSON for each task that has none yet; a failure is a result."""
    results = read(path)
    machine = environment()
    for task, measure in tasks:
        if any(task.items() <= result.items() for result in results):
            continue
        torch.set_num_threads(machine["threads"])  # aeon's MiniRocket changes it
        try:
            figures = measure()
        except Exception as error:
            figures = {"error": tell(error)}
        results.append(task | figures | machine)
        print(json.dumps(task | figures)[:300], flush=True)
        with path.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")


def read(path):
    """The results in a file; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def tell(error):
    return f"{type(error).__name__}: {error}"


def environment():
    """The commit, with a + if the package was edited since, versions, machine."""

    def git(*args):
        return subprocess.run(["git", *args], cwd=HERE, capture_output=True, text=True)

    commit = "unknown"
    with contextlib.suppress(OSError):  # no git
        commit = git("rev-parse", "--short", "HEAD").stdout.strip() or commit
        edited = git("diff", "--quiet", "HEAD", "--", "../skvae").returncode == 1
        commit += "+" * edited
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    cpu = platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line for line in lines if line.startswith("model name"))
        cpu = cpu.split(":")[1].strip()
    machine = commit, versions, torch.get_num_threads(), cpu, os.cpu_count()
    found = dict(zip(MACHINE, machine, strict=False))
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
    return found


# --- Taking turns


def interleave(jobs, rounds, warm_up=0):
    """Call each job in turn, round after round, so that all see the same machine.

    A job that fails is not called again.

    Parameters
    ----------
    jobs : dict of callables
    rounds : int
    warm_up : int
        Rounds before, whose results are dropped.

    Returns
    -------
    found : dict of lists
        What each job returned, by round; empty if it failed.
    errors : dict of str
        What each job that failed said.
    """
    found, errors = {name: [] for name in jobs}, {}
    for i, (name, job) in product(range(warm_up + rounds), jobs.items()):
        if name in errors:
            continue
        try:
            found[name].append(job())
        except Exception as error:
            errors[name], found[name] = tell(error), []
            continue
        if i < warm_up:
            found[name].clear()
    return found, errors


def seconds_of(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def seconds_an_epoch(times):
    """The mean of the epochs after the first, from the times at which they ended."""
    return (times[-1] - times[0]) / (len(times) - 1)


class FreshProcess:
    """Calls functions in one spawned process, of which nothing is shared."""

    def __enter__(self):
        spawn = multiprocessing.get_context("spawn")
        self.executor = ProcessPoolExecutor(1, mp_context=spawn)
        return self

    def __exit__(self, *error):
        self.executor.shutdown()

    def submit(self, function, *args):
        """A future of the function's result."""
        return self.executor.submit(function, *args)

    def __call__(self, function, *args):
        return self.submit(function, *args).result()


# --- Tables


def table(header, formats, rows):
    """Markdown of rows; a dash where there is no figure.

    Parameters
    ----------
    header : str
        Titles, as "set | seconds".
    formats : str
        How a value of each column is formatted, as "s .2f"; s is for anything.
    rows : iterable of sequences
    """
    titles, formats = header.split(" | "), formats.split()
    lines = [titles, ["---"] * len(titles)]
    for row in rows:
        lines.append(
            [
                "-" if is_missing(value) else format(value, "" if form == "s" else form)
                for form, value in zip(formats, row, strict=True)
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def is_missing(value):
    return value is None or (isinstance(value, float) and math.isnan(value))


def section(title, *paragraphs):
    return "\n\n".join([f"## {title}", *paragraphs])


def describe(results):
    """What ran on what, and the tasks that failed."""
    commits = sorted({result["commit"] for result in results})
    versions = {f"{k} {v}" for r in results for k, v in r["versions"].items()}
    machines = {
        ", ".join(
            f"{result[key]}{unit}"
            for key, unit in (
                ("device", ""),
                ("cpu", ""),
                ("cores", " cores"),
                ("threads", " threads"),
            )
            if key in result
        )
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


def report_parts(results, title, sections):
    """Tables of all parts of which there are results.

    Parameters
    ----------
    sections : dict
        By part, a function of its finished results that returns text.
    """
    finished = [result for result in results if "error" not in result]
    texts = [f"# {title}", describe(results)]
    if any("seconds" in result for result in finished):
        texts.append(TURNS)
    for part, make_section in sections.items():
        found = [result for result in finished if result["part"] == part]
        if found:
            texts.append(make_section(found))
    return "\n\n".join(texts)


def turns(result, first):
    """Yield what took turns: name, median, and its ratio to the first's, as text.

    In place of the ratio of one that failed stands what its error says.
    """
    seconds, errors = result["seconds"], result.get("errors", {})
    for name, values in seconds.items():
        told = errors.get(name)
        if not (told or first in errors):
            told = spread(ratios(values, seconds[first]))
        yield name, median(values), told


def ratios(values, others):
    return [a / b for a, b in zip(values, others, strict=True)]


def median(values):
    return statistics.median(values) if values else None


def spread(values):
    """Median and range, as text."""
    if not values:
        return None
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
