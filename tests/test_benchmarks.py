"""The benchmarks: their tasks, figures and tables."""

import importlib
import json
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import PLSRegression
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from skvae import ConvVAETransformer

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MACHINE = {"commit": "abc", "versions": {"numpy": "2"}, "threads": 1}


def module_fixture(name):
    @pytest.fixture(name=name)
    def load(monkeypatch):
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module(name)

    return load


harness, data, peers, make_watch, quality = map(
    module_fixture, ("harness", "data", "peers", "make_watch", "quality")
)
gaps, spectra, speed, port, gpu = map(
    module_fixture, ("gaps", "spectra", "speed", "port", "gpu")
)
needs_seglearn = pytest.mark.skipif(
    find_spec("seglearn") is None, reason="needs seglearn==1.2.5"
)


# --- The harness


def test_run_appends_what_is_wanted_and_not_there_yet(harness, tmp_path):
    path, ran = tmp_path / "results.jsonl", []
    path.write_text(json.dumps({"part": "p", "set": "a", "figure": 1.0}) + "\n")
    n_threads = torch.get_num_threads()

    def measure(size, name):
        ran.append(name)
        found = torch.get_num_threads()
        torch.set_num_threads(n_threads + 1)
        if name == "b":
            raise ValueError("no")
        return {"figure": 2.0, "found": found}

    part = harness.Part(measure, None, lambda size: [{"set": name} for name in size])
    try:
        harness.run("p", part, "abcd", path, {"set": "a,b,d"})
        assert ran == ["b", "d"]
        harness.run("p", part, "abcd", path)  # a failure is a result too
        assert ran == ["b", "d", "c"]
    finally:
        torch.set_num_threads(n_threads)
    first, failed, last, _ = harness.read(path)
    assert first == {"part": "p", "set": "a", "figure": 1.0}
    assert failed["error"] == "ValueError: no"
    # Threads are those of the beginning, whatever the one before left.
    assert (last["set"], last["figure"], last["found"]) == ("d", 2.0, n_threads)
    assert {"commit", "versions", "threads", "cpu", "cores"} <= set(last)


def test_quick_keeps_nothing(harness, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(harness, "HERE", tmp_path)
    parts = {"a": harness.Part(lambda size: {"figure": 10 * size})}

    def report(results, folder):
        return f"{results[0]['part']}: {results[0]['figure']}"

    def main(*arguments):
        monkeypatch.setattr("sys.argv", ["made_up.py", *arguments])
        harness.main("", "made_up", parts, report, 1, 2)
        return capsys.readouterr().out

    assert "a: 20" in main("a", "--quick")
    assert list(tmp_path.glob("**/*.*")) == []
    assert "a: 10" in main("a", "report")
    assert (tmp_path / "results" / "made_up.md").read_text() == "a: 10\n"
    assert len(harness.read(tmp_path / "results" / "made_up.jsonl")) == 1


def test_peers_take_turns(harness):
    calls = []

    def job(name):
        calls.append(name)
        if name == "fails" and calls.count(name) == 2:
            raise RuntimeError("no")
        return len(calls)

    jobs = {name: lambda n=name: job(n) for name in ("a", "fails", "b")}
    turns = harness.interleave(jobs, rounds=2, warm_up=1)
    assert calls == ["a", "fails", "b", "a", "fails", "b", "a", "b"]
    assert turns["seconds"] == {"a": [4, 7], "fails": [], "b": [6, 8]}
    assert turns["errors"] == {"fails": "RuntimeError: no"}


def test_table(harness):
    rows = [("a", 1.25, 1000), ("b", float("nan"), None)]
    assert harness.table("name | figure:.1f | signals:,", rows).splitlines() == [
        "| name | figure | signals |",
        "| --- | --- | --- |",
        "| a | 1.2 | 1,000 |",
        "| b | - | - |",
    ]
    with pytest.raises(ValueError, match="zip"):
        harness.table("name | figure:.1f", [("a",)])


def test_turns_where_one_failed(harness):
    seconds = {"a": [2.0, 2.0, 4.0], "b": [1.0, 3.0, 8.0], "c": []}
    result = {"seconds": seconds, "errors": {"c": "no"}}
    assert list(harness.turns(result, "a")) == [
        ("a", 2.0, "1.00 (1.00 to 1.00)"),
        ("b", 3.0, "1.50 (0.50 to 2.00)"),
        ("c", None, "no"),
    ]
    assert [row[2] for row in harness.turns(result, "c")] == [None, None, "no"]


def test_failures_are_listed(harness):
    text = harness.describe([{"set": "a", "error": "ValueError: no", **MACHINE}])
    assert "- failed: set a, error ValueError: no" in text
    assert "1 results of skvae at abc; on 1 threads; numpy 2." in text


# --- Data


def test_watch_is_split_by_person(data):
    X, _, X_test, y_test = data.load("watch6")
    assert (X.shape, X_test.shape) == ((448, 6, 336), (210, 6, 336))
    one = data.load("watch")
    np.testing.assert_array_equal(one[0], X[:, 0])
    np.testing.assert_array_equal(one[3], y_test)


def test_windows_do_not_overlap(make_watch):
    """Two recordings of two people, of 1000 and 700 points."""
    signals = [np.arange(6.0 * n).reshape(n, 6) / 50 for n in (1000, 700)]
    windows = make_watch.cut({"X": signals, "y": [4, 2], "subject": [7, 8]})
    assert windows["subject"].tolist() == [7, 7, 8, 8]
    assert windows["target"].tolist() == [4, 4, 2, 2]
    X = windows["data"] * windows["step"][:, None]
    np.testing.assert_allclose(X[1], signals[0][336:672].T, atol=0.011)


@pytest.mark.peer
@needs_seglearn
def test_watch_rebuilds_to_the_same_bytes(make_watch):
    content = make_watch.npz_bytes(make_watch.cut(make_watch.load_recordings()))
    assert content == make_watch.PACKAGED.read_bytes()


@pytest.mark.parametrize("content", [None, b"another"])
def test_only_the_known_recordings_are_opened(
    make_watch, monkeypatch, content, tmp_path
):
    spec = None
    if content is not None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "watch_dataset.npy").write_bytes(content)
        spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(make_watch, "find_spec", lambda name: spec)
    with pytest.raises((ValueError, ImportError), match=r"pip install .* seglearn=="):
        make_watch.load_recordings()


# --- Quality


def made_up(name, method, latent_dim, seed, **figures):
    task = {"set": name, "method": method, "latent_dim": latent_dim, "seed": seed}
    seconds = {"fit_seconds": 1.0, "transform_seconds": 0.1}
    return {**task, **seconds, "acc5": 0.5, "acc1_tenth": 0.25, **MACHINE, **figures}


RESULTS = [
    made_up("Coffee", "raw", None, 0, acc1=0.5),
    made_up("Coffee", "pca", 2, 0, acc1=0.5, bound=10.0, reconstruction=0.2),
    made_up("Coffee", "pca-raw", 2, 0, acc1=0.4, bound=9.0, reconstruction=0.2),
    made_up("Coffee", "features", None, 0, acc1=0.9),
    made_up("Coffee", "skvae", 2, 0, acc1=0.6, bound=12.0, reconstruction=0.1),
    made_up("Coffee", "skvae", 2, 1, acc1=0.8, bound=16.0, reconstruction=0.2),
    made_up("Coffee", "skvae-labels", 2, 0, acc1=0.95, reconstruction=0.3),
    made_up("Coffee", "skvae-10%-labels", 2, 0, acc1=0.45),
    made_up("Trace", "pca", 2, 0, acc1=0.9, bound=10.0, reconstruction=0.2),
    made_up("Trace", "skvae", 2, 0, acc1=0.82, bound=7.0, reconstruction=0.1),
    made_up("watch", "skvae", 2, 0, error="ValueError: no"),
]


def test_quality_report(quality, tmp_path):
    text = quality.report(RESULTS, tmp_path)
    assert "| Coffee | 0.500 | 0.400 | 0.700 | +0.200 | +4.0 | 0.75 | 1.0 |" in text
    assert "| Trace | 0.900 | - | 0.820 | -0.080 | -3.0 | 0.50 | 1.0 |" in text
    assert "| **mean** | 0.700 | 0.400 | 0.760 | +0.060 | +0.5 | 0.62 | 1.0 |" in text
    means = (
        "| skvae | 2 | 2 | 2 | 0.760 | 0.500 | 0.250 | +0.060 | -0.080 | +0.5 | 1 of"
    )
    assert means in text
    labels = "| Coffee | 0.500 | 0.900 | 0.500 | 0.700 | 0.950 | 1.50 | - | 1.000 |"
    assert labels in text
    assert "| Coffee | 0.250 | 0.250 | 0.250 | 0.250 | 0.450 |" in text
    assert "failed: set watch, method skvae, latent_dim 2, seed 0" in text


def test_tasks_keep_to_what_a_method_provides(quality):
    sets = ("Coffee", "Trace")
    size = quality.Size(sets, (None, 2, 16), (0, 1))
    found = [tuple(task.values()) for task in quality.tasks(size)]
    for method, expected in {
        "raw": [(name, None, seed) for seed in (0, 1) for name in sets],
        "p2": [(name, 2, 0) for name in sets],
        "skvae-labels": [(name, 2, seed) for seed in (0, 1) for name in sets],
    }.items():
        runs = [(name, k, seed) for name, of, k, seed in found if of == method]
        assert runs == expected


@pytest.fixture
def two_channels(quality, monkeypatch):
    """Train and test signals of two channels in different units, two classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2, 5)) * [[1.0], [100.0]] + [[0.0], [7.0]]
    X[30:, 1] += 1000  # so that classes differ
    y = np.repeat(["a", "b"], 30)
    half = np.arange(60) % 2 == 0
    splits = X[half], y[half], X[~half], y[~half]
    monkeypatch.setattr(quality.data, "load", lambda name: splits)
    return splits


def test_evaluate_pca(quality, two_channels):
    """Figures of PCA against scikit-learn's own."""
    train, _, test, _ = two_channels
    found = quality.evaluate(None, "made up", "pca", 3, 0)
    assert found["acc1"] == found["acc5"] == found["acc1_tenth"] == 1.0

    # The same model in the units of X: full covariance, by scikit-learn.
    mean = train.mean(axis=(0, 2), keepdims=True)
    std = train.std(axis=(0, 2), keepdims=True)
    S, S_test = (((X - mean) / std).reshape(30, -1) for X in (train, test))
    pca = quality.PCA(3, svd_solver="full").fit(S)
    factors = np.repeat(std.ravel(), 5)
    covariance = pca.get_covariance() * np.outer(factors, factors)
    centre = pca.mean_ * factors + np.repeat(mean.ravel(), 5)
    difference = test.reshape(30, -1) - centre
    squares = np.einsum(
        "ni,ij,nj->n", difference, np.linalg.inv(covariance), difference
    )
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
    assert found["bound"] == pytest.approx(-0.5 * (squares.mean() + log_det), rel=1e-5)
    error = np.mean((pca.inverse_transform(pca.transform(S_test)) - S_test) ** 2)
    assert found["reconstruction"] == pytest.approx(error, rel=1e-4)


def test_evaluate_plain_pca(quality, two_channels):
    """It sees the signals as they come; its errors are judged like the others'."""
    train, _, test, _ = two_channels
    found = quality.evaluate(None, "made up", "pca-raw", 3, 0)
    flat, flat_test = train.reshape(30, -1), test.reshape(30, -1)
    pca = quality.PCA(3, svd_solver="full").fit(flat)
    assert found["bound"] == pytest.approx(pca.score(flat_test))
    X_hat = pca.inverse_transform(pca.transform(flat_test)).reshape(test.shape)
    error = np.mean(((X_hat - test) / train.std(axis=(0, 2), keepdims=True)) ** 2)
    assert found["reconstruction"] == pytest.approx(error, rel=1e-4)


def test_few_labels_are_all_that_is_known(quality, two_channels, monkeypatch):
    fitted = []

    class Model(quality.PCA):
        def fit(self, X, y):
            fitted.append((X, y))
            return super().fit(X.reshape(len(X), -1))

        def transform(self, X):
            return super().transform(X.reshape(len(X), -1))

    method = quality.METHODS["skvae-10%-labels"]
    methods = {"skvae-10%-labels": method._replace(make=lambda k, seed: Model(k))}
    monkeypatch.setattr(quality, "METHODS", methods)
    monkeypatch.setattr(quality, "NO_RECONSTRUCTION", tuple(methods))
    quality.evaluate(None, "made up", "skvae-10%-labels", 2, 0)
    [(X, y)] = fitted
    assert X is two_channels[0]
    assert np.bincount(y + 1).tolist() == [26, 2, 2]


def test_features_stand_for_no_signal(quality, two_channels):
    for method, k in (("features", None), ("features-pca", 2)):
        found = quality.evaluate(None, "made up", method, k, 0)
        assert found["acc1"] > 0.5
        assert not {"bound", "reconstruction"} & set(found)
        again = quality.evaluate(None, "made up", method, k, 0)
        assert again["acc5"] == found["acc5"]


def test_tenth_has_two_of_each_class(quality):
    y = np.repeat([0, 1, 2], [5, 30, 100])
    mask = quality.draw_tenth(y, seed=0)
    assert np.bincount(y[mask]).tolist() == [2, 3, 10]
    assert (mask == quality.draw_tenth(y, seed=0)).all()
    assert (mask != quality.draw_tenth(y, seed=1)).any()


# --- Peers


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("system", "sizes"),
    [("K1", (58740, 24769)), ("P1", (58740, 24753)), ("P2", (59060, 24945))],
)
def test_systems_are_as_large_as_the_threads(port, peers, system, sizes):
    module = port.make_module(getattr(peers, system))
    assert (n_parameters(module.encoder), n_parameters(module.decoder)) == sizes


@torch.no_grad()
def test_plain_p2_is_the_network_of_skvae(port, peers):
    plain, module = peers.P2Module(), port.make_module(peers.P2).eval()

    def values(module):
        """What a network has learned, layer by layer."""
        values = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        others = ("gaps.", "tracked")
        return [
            values[n] for n in module.state_dict() if not any(o in n for o in others)
        ]

    for value, other in zip(values(plain), values(module), strict=True):
        if other.ndim == 4:
            other = other.squeeze(2)  # a kernel (o, i, 1, k)
        # skvae flattens (n, c, t) time first.
        if other.shape == (64, 672):
            other = other.unflatten(1, (21, 32)).mT.flatten(1)
        elif len(other) == 672:
            other = other.unflatten(0, (21, 32)).transpose(0, 1).flatten(0, 1)
        value.copy_(other)
    x = torch.rand(5, 1, 336)
    torch.testing.assert_close(plain.eval().encode(x), module.encode(x))
    z = torch.randn(5, 2)
    torch.testing.assert_close(plain.decoder(z), module.decode(z))


@pytest.mark.parametrize("n_timepoints", [150, 275, 427])
def test_plain_p2_keeps_the_length(peers, n_timepoints):
    x = torch.rand(2, 1, n_timepoints)
    assert peers.P2Module(n_timepoints)(x)[0].shape == x.shape


def test_plain_loop_learns(speed, peers):
    X, _ = speed.make_load_profiles(64, random_state=0)
    torch.manual_seed(0)
    train_epoch = peers.epoch_trainer(X)
    losses = [train_epoch() for _ in range(3)]
    assert losses[2] < losses[1] < losses[0]


# Three epochs of 40 signals teach P2 nothing, and the fit says so.
@pytest.mark.filterwarnings("ignore:No latent dimension is active")
@pytest.mark.parametrize("name", ["plain PyTorch loop", "skvae"])
def test_trainers_return_when_epochs_end(speed, peers, name):
    X, _ = speed.make_load_profiles(40, random_state=0)
    train = peers.TRAINERS[name](X, 32)
    before = time.perf_counter()
    for _ in range(2):
        times = train(3)
        assert len(times) == 3
        assert before < times[0] < times[1] < times[2] < time.perf_counter()
        before = times[2]


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")  # not ours to mend
@pytest.mark.parametrize("n_timepoints", [336, 151])
def test_keras_with_equal_weights(n_timepoints, monkeypatch, request):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    port = request.getfixturevalue("port")
    found = port.equality(None, n_timepoints, n_signals=8)
    assert found["loss"] < 1e-6 * found["mean loss"]  # what float32 resolves
    assert max(found[name] for name in ("z_mean", "z_log_var", "x_hat")) < 1e-5


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
def test_keras_p2_is_as_large(peers, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    vae = peers.keras_vae(336, p2=True)
    sizes = [
        sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        for model in (vae.encoder, vae.decoder)
    ]
    assert sizes == [59060, 24945]


# --- Speed


def test_memory_is_watched(harness):
    with harness.watched_memory() as memory:
        array = np.ones(20_000_000)
        time.sleep(0.2)
        del array
    assert max(memory) - memory[0] == pytest.approx(160e6, rel=0.1)


def report(benchmark, part, **figures):
    return benchmark.report([{"part": part, **figures, **MACHINE}], None)


def test_a_process_imports_the_build_asked_for(speed, harness, tmp_path):
    """Which `process_of` asserts itself, there; those it starts read PYTHONPATH."""
    (tmp_path / "skvae.py").write_text("")
    with speed.process_of(str(tmp_path)) as process:
        assert harness.call(process, os.getenv, "PYTHONPATH") == str(tmp_path)


def test_a_script_imports_the_build_asked_for(speed, monkeypatch, tmp_path):
    """Not that of the folder in which the benchmark is started."""
    (tmp_path / "skvae.py").write_text("found = 3.0")
    monkeypatch.chdir(BENCHMARKS.parent)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(speed, "SETUP", "import skvae")
    monkeypatch.setitem(speed.SCRIPTS, "made up", "; print(skvae.found)")
    assert speed.prepare("made up", 20, 1, "", "now")() == 3.0


def test_both_builds_and_the_peer_take_turns(speed, monkeypatch):
    """In this process; the build before is what git has of it."""
    commit = ["git", "show", f"{speed.BEFORE}:skvae/__init__.py"]
    shown = subprocess.run(commit, cwd=BENCHMARKS, capture_output=True, text=True)
    if shown.returncode:
        pytest.skip("needs the history in git")
    codes, calls = [], []

    def process_of(build):
        codes.append(Path(build, "skvae", "__init__.py").read_text())
        return ThreadPoolExecutor(1)

    def time_once(measure, n_signals, n_channels, folder, build):
        calls.append((measure, build))
        if build == "now":
            raise ValueError("no")
        return len(calls), 10 * len(calls)

    monkeypatch.setattr(speed, "process_of", process_of)
    monkeypatch.setattr(speed, "time_once", time_once)
    found = speed.compare(speed.QUICK, speed.CLOSED_FORM, 20, 1)
    own = Path(speed.__file__).parents[1] / "skvae" / "__init__.py"
    assert codes == [shown.stdout, own.read_text(), own.read_text()]
    names = ["before", "now", "IncrementalPCA", *2 * ["before", "IncrementalPCA"]]
    assert calls == [(speed.CLOSED_FORM, name) for name in names]
    # The first round warms up.
    assert found["seconds"] == {"before": [4, 6], "now": [], "IncrementalPCA": [5, 7]}
    assert found["peak_bytes"] == {"before": 60, "IncrementalPCA": 70}
    assert found["errors"] == {"now": "ValueError: no"}


@pytest.mark.parametrize(
    ("measure", "method", "n_signals", "n_channels", "n_calls"),
    [
        ("default fit", "fit", 8, 6, 1),
        ("transform", "transform", 1, 6, 3),
        ("score_samples", "score_samples", 30, 1, 1),
    ],
)
def test_what_is_timed(
    speed, monkeypatch, measure, method, n_signals, n_channels, n_calls
):
    monkeypatch.setattr(speed, "N_APPLIED", 3)
    monkeypatch.setattr(speed, "N_FITTED", 20)
    untrained = {"max_epochs": 0, "device": "cpu"}
    monkeypatch.setattr(speed, "default_vae", partial(ConvVAETransformer, **untrained))
    shapes = spy_on_shapes(monkeypatch, ConvVAETransformer, method)
    timed = speed.prepare(measure, n_signals, n_channels, "", "now")
    shapes.clear()
    assert timed() > 0
    channels = (n_channels,) if n_channels > 1 else ()
    assert shapes == n_calls * [(n_signals, *channels, 336)]


def spy_on_shapes(monkeypatch, owner, method):
    """The shapes of the signals that a method is called with."""
    shapes, original = [], getattr(owner, method)

    def spy(self, X, *args):
        shapes.append(X.shape)
        return original(self, X, *args)

    monkeypatch.setattr(owner, method, spy)
    return shapes


def test_a_closed_form_is_of_the_file_that_its_peer_reads(speed, monkeypatch, tmp_path):
    fitted = []

    class Recorder:
        def __init__(self, *args, **params):
            self.params = params

        def fit(self, X):
            fitted.append((self.params, X.shape, Path(X.filename)))

    monkeypatch.setattr(speed, "IncrementalPCA", Recorder)
    monkeypatch.setattr(speed, "default_vae", Recorder)
    for build in ("before", "now", "IncrementalPCA"):
        speed.prepare(speed.CLOSED_FORM, 1200, 1, tmp_path, build)()
    ours, again, theirs = fitted[1::2]  # after what warms up
    assert ours == again == ({"max_epochs": 0}, (1200, 336), tmp_path / "X.npy")
    assert theirs == ({"batch_size": 5000}, (1200, 336), tmp_path / "X.npy")


@pytest.mark.peer
def test_minirocket_has_as_many_features(speed):
    pytest.importorskip("aeon")
    X = speed.profiles(40, 2)
    n_threads = torch.get_num_threads()
    (ours, x), (theirs, X) = (speed.features(X, by_peer) for by_peer in (False, True))
    try:
        assert ours(x).shape[1] // 84 == theirs(X).shape[1] / 84
    finally:
        torch.set_num_threads(n_threads)


@pytest.mark.parametrize(
    "name", ["start of Python to latents", "first step of two workers"]
)
def test_scripts_print_seconds(speed, monkeypatch, capsys, name):
    began = time.time()
    monkeypatch.setattr("sys.argv", ["-c", "20", str(began - 1000)])
    script = speed.SETUP + speed.SCRIPTS[name].replace("n_jobs=2", "n_jobs=1")
    exec(script, {"__name__": "__main__"})
    seconds = float(capsys.readouterr().out)
    assert 0 < seconds - (1000 if "Python" in name else 0) < time.time() - began


def test_the_search_is_that_of_the_readme(speed):
    script = speed.SCRIPTS["README's grid search"].replace("n_signals", "200")
    readme = (BENCHMARKS.parent / "README.md").read_text(encoding="utf-8")
    same = ["X, y = make_load_profiles(200, n_timepoints=48, random_state=0)"]
    same += ["GridSearchCV(pipeline, grid, cv=3, n_jobs=2)"]
    same += re.findall("^(?:pipeline|grid) = .*$", script, re.MULTILINE)
    assert len(same) == 4
    assert all(code in script and code in readme for code in same)
    task = {"measure": "README's grid search", "signals": 200, "channels": 1}
    assert task in speed.compare_tasks(speed.Size())


def test_before_report(speed):
    seconds = {"before": [2.0, 4.0], "now": [1.0, 3.0], "IncrementalPCA": [0.5, 1.0]}
    peaks = {"before": 3e8, "now": 2e8, "IncrementalPCA": 1e8}
    task = {"measure": speed.CLOSED_FORM, "signals": 20_000, "channels": 1}
    text = report(speed, "before", **task, seconds=seconds, peak_bytes=peaks)
    row = "| closed form of a map | 20,000 | 1 |"
    assert f"{row} before | 2 | 3 | 2 | 0.62 (0.50 to 0.75) | 300 | 200 |" in text
    row += " IncrementalPCA"
    assert f"{row} | 2 | 0.75 | 2 | 2.50 (2.00 to 3.00) | 100 | 200 |" in text


@pytest.mark.parametrize(
    "name", ["gaps", "odd", "port", "quality", "scale", "spectra", "speed"]
)
def test_tables_are_those_of_the_results(name, harness, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    results = BENCHMARKS / "results" / name
    text = importlib.import_module(name).report(
        harness.read(results.with_suffix(".jsonl")), tmp_path
    )
    assert text + "\n" == results.with_suffix(".md").read_text(encoding="utf-8")


# --- Spectra


@pytest.mark.parametrize("name", ["fermentation", "coffee"])
def test_linear_regression_behind_scores_of_pls_is_pls(spectra, name, monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 30))
    y = X[:, 0] + rng.standard_normal(60)
    if name == "coffee":
        y = np.array(["a", "b", "c"])[np.digitize(y, [-1, 1])]
    monkeypatch.setattr(spectra, "load", lambda name: (X, y, []))
    found = spectra.measure(None, name, "PLS", 3, seed=0)
    is_classes = name == "coffee"
    folds = (StratifiedKFold if is_classes else KFold)(
        spectra.N_FOLDS[name], shuffle=True, random_state=0
    )
    targets = y[:, None] == np.unique(y) if is_classes else y
    pls = PLSRegression(3, scale=False)
    splits = list(folds.split(X, y))
    predicted = cross_val_predict(pls, X, targets.astype(float), cv=splits)
    if is_classes:
        expected = (np.unique(y)[predicted.argmax(axis=1)] == y).mean()
    else:
        expected = np.sqrt(np.mean((predicted.ravel() - y) ** 2))
    assert found["linear"] == pytest.approx(expected, rel=1e-6)


def test_the_spectra_are_those_that_chemotools_holds(spectra):
    pytest.importorskip("chemotools")
    X, y, steps = spectra.load("coffee")
    assert X.shape == (60, 1841)
    assert np.unique(y, return_counts=True)[1].tolist() == [20, 20, 20]
    X, y, steps = spectra.load("fermentation")
    assert X.shape == (21, 1047)
    assert np.std(y, ddof=1) == pytest.approx(12.43, abs=0.01)
    made = make_pipeline(*steps).fit_transform(X)
    assert np.abs(made.mean(axis=0)).max() < 1e-9 * np.abs(made).max()


# --- The thread's story, and a GPU


def test_port_report(port, tmp_path):
    zeros = {"latents": [[0.0, 0.0]] * port.N_TEST, "reconstruction": [0.0] * 336}
    judged = {"part": "story", "elbo": 1.0, "squared_error": 0.5, **zeros, **MACHINE}
    results = [
        judged | {"system": name, "seed": seed, "seen": seen, "accuracy": accuracy}
        for name, seen, seed, accuracy in (
            (port.CORRECTED, 100.0, 0, 0.5),
            ("everything averaged", 50.0, 0, 0.2),
            ("everything averaged", 50.0, 1, 0.3),
        )
    ]
    equal = {"z_mean": 1e-7, "z_log_var": 2e-7, "x_hat": 3e-7, "loss": 1e-5}
    equal |= {"part": "equality", "points": 336, "mean loss": 303.2, **MACHINE}
    text = port.report([*results, equal], tmp_path)
    assert "averaged | 50 | 1.0 ± 0.0 | 0.50 ± 0.00 | 0.25 ± 0.07 |" in text
    assert "| 336 | 1.0e-07 | 2.0e-07 | 3.0e-07 | 1.0e-05 | 303 |" in text
    assert (tmp_path / "figures" / "port.png").stat().st_size > 0


def test_losses_of_the_thread(port):
    """Two signals of three points, by hand: SSE 3 and 12, KL of two latents 1 and 0."""
    kl = port.kl_divergence(torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.zeros(2, 2))
    squares = torch.tensor([[[1.0] * 3], [[4.0] * 3]])
    assert port.corrected(squares, kl) == pytest.approx(10 * 7.5 + 0.5)
    assert port.kl_mean_latents(squares, kl) == pytest.approx(10 * 7.5 + 0.25)
    assert port.sse_sum_kl_mean(squares, kl) == pytest.approx(10 * 15 + 0.25)
    assert port.all_means(squares, kl) == pytest.approx(10 * 2.5 + 0.25)


def test_broadcast_loss_is_of_each_signal_against_each_reconstruction(
    port, monkeypatch
):
    shapes = []

    def loss(squares, kl):
        shapes.append(tuple(squares.shape))
        return port.corrected(squares, kl)

    X = np.zeros((4, 336), np.float32)
    for broadcast in (False, True):
        port.train_torch(X, 0, 1, loss=loss, broadcast=broadcast)
    assert shapes == [(4, 1, 336), (4, 4, 336)]


def test_dropout_that_stays_on(port, peers):
    x = torch.rand(4, 1, 336)
    module = port.make_module(peers.K1).eval()
    assert torch.equal(module.encode(x)[0], module.encode(x)[0])
    port.keep_dropout_on(module)
    assert not torch.equal(module.eval().encode(x)[0], module.encode(x)[0])


@pytest.mark.filterwarnings("ignore:No latent dimension is active")  # as yet
def test_what_a_gpu_benchmark_measures_runs_on_a_cpu(gpu, monkeypatch):
    monkeypatch.setattr(gpu, "DEVICE", "cpu")
    found = gpu.time_epochs(gpu.QUICK, 32)
    assert not found["errors"]
    [plain] = found["seconds"]["plain PyTorch loop"]
    text = report(gpu, "epochs", batch_size=32, **found)
    assert f"| 32 | plain PyTorch loop | {plain:.3f} | 1.00 (1.00 to 1.00) |" in text


# --- Gaps


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("kind", ["points", "blocks", "ends"])
def test_gaps_have_the_share_asked_for(gaps, kind, share):
    rng = np.random.default_rng(0)
    is_missing = np.isnan(gaps.make_gaps(np.ones((1000, 3, 24)), kind, share, rng))
    assert is_missing.mean() == pytest.approx(share, abs=0.02)
    assert (~is_missing).sum(axis=2).min() >= 2
    common = (is_missing == is_missing[:, :1]).all()
    assert common == (kind == "ends")
    if kind == "ends":
        assert (np.diff(is_missing.astype(int)) >= 0).all()
    if kind == "blocks":  # of 5 points
        assert set(is_missing.sum(axis=2).ravel() % 5) == {0}


def test_filling_by_probabilistic_pca_recovers_signals_of_its_rank(gaps):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 8)) @ rng.normal(size=(8, 60))
    G = gaps.make_gaps(X[:, None], "points", 0.3, rng)
    filled = gaps.METHODS["pPCA"](G[:150], G[150:])[:, 0]
    missing = np.isnan(G[150:, 0])
    np.testing.assert_array_equal(filled[~missing], X[150:][~missing])
    errors = (filled - X[150:])[missing]
    assert errors.std() < 0.05 * X.std()
    means = np.broadcast_to(X[:150].mean(axis=0), filled.shape)
    assert (means - X[150:])[missing].std() > 0.9 * X.std()
