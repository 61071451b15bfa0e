"""The benchmarks: what they run, what they skip, what their tables say."""

import importlib
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from torch import nn

from skvae import ConvVAETransformer

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def quality(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("quality")


def made_up(name, method, latent_dim, seed, **figures):
    return {
        "set": name,
        "method": method,
        "latent_dim": latent_dim,
        "seed": seed,
        "fit_seconds": 1.0,
        "fit_cpu_seconds": 1.0,
        "transform_seconds": 0.1,
        "acc5": 0.5,
        "acc1_tenth": 0.25,
        "commit": "abc",
        "versions": {"numpy": "2"},
        "threads": 1,
        **figures,
    }


@pytest.fixture
def results(tmp_path):
    """A file of results: two sets, two seeds of skvae, one failure."""
    lines = [
        made_up("Coffee", "raw", None, 0, acc1=0.5),
        made_up("Coffee", "pca", 2, 0, acc1=0.5, bound=10.0, reconstruction=0.2),
        made_up("Coffee", "skvae", 2, 0, acc1=0.6, bound=12.0, reconstruction=0.1),
        made_up("Coffee", "skvae", 2, 1, acc1=0.8, bound=16.0, reconstruction=0.2),
        made_up("Trace", "pca", 2, 0, acc1=0.9, bound=10.0, reconstruction=0.2),
        made_up("Trace", "skvae", 2, 0, acc1=0.82, bound=7.0, reconstruction=0.1),
        made_up("watch", "skvae", 2, 0, error="ValueError: no"),
    ]
    path = tmp_path / "quality.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_report_on_made_up_results(quality, results, tmp_path):
    quality.report(results, tmp_path / "quality.png")
    text = results.with_suffix(".md").read_text()
    assert "| Coffee | 0.500 | 0.700 | +0.200 | +4.0 | 0.75 | 1.0 |" in text
    assert "| Trace | 0.900 | 0.820 | -0.080 | -3.0 | 0.50 | 1.0 |" in text
    assert "| **mean** | 0.700 | 0.760 | +0.060 | +0.5 | 0.62 | 1.0 |" in text
    assert "mean 1-NN at least PCA's +0.05 | +0.0600 | met |" in text
    assert "by more than 0.02 | worst -0.080, Trace; 1 below | missed |" in text
    assert "on every set | least -3.0 nats, Trace; above on 1 of 2 | missed |" in text
    assert "failed: skvae, latent_dim 2, watch, seed 0: ValueError: no" in text
    assert (tmp_path / "quality.png").stat().st_size > 0


def test_mean_ranks(quality, results):
    """Coffee, the one set of all three: skvae first, the other two share 2 and 3."""
    ranks, n_sets = quality.mean_ranks(quality.means(quality.read(results)), 2)
    assert n_sets == 1
    assert ranks.to_dict() == {"skvae": 1.0, "raw": 2.5, "pca": 2.5}


def test_run_skips_what_is_finished(quality, results, monkeypatch):
    before = quality.read(results)
    ran = []

    def evaluate(*task):
        ran.append(task)
        if task[0] == "Trace":
            raise ValueError("no")
        return {"acc1": 1.0}

    monkeypatch.setattr(quality, "evaluate", evaluate)
    tasks = list(quality.plan(["Coffee", "Trace"], ["raw", "skvae"], [2], [0]))
    quality.run(tasks, results)
    assert ran == [("Trace", "raw", None, 0)]
    assert quality.read(results)[: len(before)] == before
    assert quality.read(results)[-1]["error"] == "ValueError: no"
    quality.run(tasks, results)
    assert len(ran) == 1


def test_plan_keeps_to_what_a_method_provides(quality):
    tasks = list(quality.plan(["Coffee"], ["raw", "p2"], [2, 16], [0, 1]))
    found = [(task["method"], task["latent_dim"], task["seed"]) for task in tasks]
    assert found == [("raw", None, 0), ("p2", 2, 0), ("raw", None, 1)]


def test_evaluate_pca(quality, monkeypatch):
    """Figures of PCA against scikit-learn's own, two channels in different units."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2, 5)) * [[1.0], [100.0]] + [[0.0], [7.0]]
    X[30:, 1] += 1000  # so that classes differ
    y = np.repeat(["a", "b"], 30)
    half = np.arange(60) % 2 == 0
    splits = X[half], y[half], X[~half], y[~half]
    monkeypatch.setattr(quality.data, "load", lambda name: splits)
    found = quality.evaluate("made up", "pca", 3, 0)
    assert found["acc1"] == found["acc5"] == found["acc1_tenth"] == 1.0

    # The same model in the units of X: full covariance, by scikit-learn.
    mean = X[half].mean(axis=(0, 2), keepdims=True)
    std = X[half].std(axis=(0, 2), keepdims=True)
    train, test = (((S - mean) / std).reshape(30, -1) for S in (X[half], X[~half]))
    pca = quality.PCA(3, svd_solver="full").fit(train)
    factors = np.repeat(std.ravel(), 5)
    covariance = pca.get_covariance() * np.outer(factors, factors)
    centre = pca.mean_ * factors + np.repeat(mean.ravel(), 5)
    difference = X[~half].reshape(30, -1) - centre
    squares = np.einsum(
        "ni,ij,nj->n", difference, np.linalg.inv(covariance), difference
    )
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
    assert found["bound"] == pytest.approx(-0.5 * (squares.mean() + log_det), rel=1e-5)
    error = np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2)
    assert found["reconstruction"] == pytest.approx(error, rel=1e-4)


def test_tenth_has_two_of_each_class(quality):
    y = np.repeat([0, 1, 2], [5, 30, 100])
    mask = quality.draw_tenth(y, seed=0)
    assert np.bincount(y[mask]).tolist() == [2, 3, 10]
    assert (mask == quality.draw_tenth(y, seed=0)).all()
    assert (mask != quality.draw_tenth(y, seed=1)).any()


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("speed")


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture
def fitted_p2(speed):
    """skvae, with the parameters of P2."""
    X, _ = speed.make_load_profiles(40, random_state=0)
    params = speed.quality.P2 | {"max_epochs": 1, "random_state": 0, "device": "cpu"}
    return ConvVAETransformer(2, **params).fit(X)


@torch.no_grad()
def test_plain_p2_is_the_network_of_skvae(speed, fitted_p2):
    plain, module = speed.p2.P2(), fitted_p2.module_
    n_decoder = n_parameters(plain.decoder)
    assert (n_parameters(plain) - n_decoder, n_decoder) == (59060, 24945)
    assert n_parameters(module.encoder) == 59060
    assert n_parameters(module.decoder) == 24945

    def values(module):
        """What a network has learned, layer by layer."""
        names = [n for n in module.state_dict() if not n.endswith("tracked")]
        return [module.state_dict()[name] for name in names]

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
    torch.testing.assert_close(plain.decode(z), module.decode(z))


@pytest.mark.parametrize("n_timepoints", [150, 275, 427])
def test_plain_p2_keeps_the_length(speed, n_timepoints):
    x = torch.rand(2, 1, n_timepoints)
    assert speed.p2.P2(n_timepoints)(x)[0].shape == x.shape


def test_plain_loop_learns(speed):
    X, _ = speed.make_load_profiles(64, random_state=0)
    torch.manual_seed(0)
    _, train_epoch = speed.p2.training(X)
    losses = [train_epoch() for _ in range(3)]
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")  # not ours to mend
def test_keras_p2_is_as_large(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    vae = importlib.import_module("keras_vae").keras_p2(336)
    sizes = [
        sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        for model in (vae.encoder, vae.decoder)
    ]
    assert sizes == [59060, 24945]


def test_best_variance_elbo_is_the_largest(speed):
    """Against a search over the standard deviation of scipy's normal density."""
    residuals = np.random.default_rng(0).normal(size=(50, 7))

    def elbo(std):
        return norm(scale=std).logpdf(residuals).sum(axis=1).mean() - 1.5

    best = minimize_scalar(lambda std: -elbo(std), bounds=(0.1, 9), method="bounded")
    sse = np.square(residuals).sum(axis=1).mean()
    assert speed.best_variance_elbo(sse, 1.5, 7) == pytest.approx(-best.fun)


class LinearVAE(nn.Module):
    """Of signals (X - offset) / scale; the same distribution of X for any."""

    def __init__(self, offset, scale):
        super().__init__()
        self.offset, self.scale = offset, scale

    def encode(self, x):
        z_mean = (self.scale * x + self.offset).flatten(1)[:, :2]
        return z_mean, torch.full_like(z_mean, -1.0)

    def decode(self, z):
        return ((nn.functional.pad(z, (0, 2)) - self.offset) / self.scale)[:, None]


def test_judge(speed):
    """The SSE and KL known in closed form, in any units; nothing changed."""
    X = np.random.default_rng(0).normal(size=(4000, 4)).astype(np.float32)
    state = torch.get_rng_state()
    found = []
    for offset, scale in ((0.0, 1.0), (5.0, 100.0)):
        module = LinearVAE(offset, scale)
        judge = speed.Judge(X, offset, scale)
        found.append(judge.elbo(*judge.terms(module)))
        assert module.training
    assert torch.equal(torch.get_rng_state(), state)

    squares = np.square(X).mean(axis=0)
    sse = 2 * np.exp(-1) + squares[2:].sum()
    kl = 0.5 * (squares[:2].sum() + 2 * np.exp(-1))  # -1 + 1 = 0 in each dimension
    assert found[0] == pytest.approx(speed.best_variance_elbo(sse, kl, 4), abs=0.01)
    assert found[1] == pytest.approx(found[0], abs=1e-3)


def test_seconds_to(speed):
    curve = [(1.0, -5.0), (2.0, 3.0), (3.0, 2.0)]
    assert speed.seconds_to(2.5, curve) == 2.0
    assert speed.seconds_to(-5.0, curve) == 1.0
    assert speed.seconds_to(4.0, curve) is None


def test_third_of_grid_has_each_pair_once(speed):
    candidates = list(speed.third_of_grid(speed.Size()))
    assert len(candidates) == 9
    for a, b in (
        ("latent_dim", "dropout"),
        ("latent_dim", "reconstruction_weight"),
        ("dropout", "reconstruction_weight"),
    ):
        assert len({(c[a], c[b]) for c in candidates}) == 9


def test_peak_memory(speed):
    with speed.PeakMemory() as memory:
        array = np.ones(20_000_000)
        time.sleep(0.2)
        del array
    assert memory.added == pytest.approx(160e6, rel=0.1)


def test_a_peer_that_fails_is_a_line(speed, monkeypatch, tmp_path):
    def peer(seconds):
        return lambda X, batch_size, stack: lambda n: [seconds * i for i in range(n)]

    def missing(X, batch_size, stack):
        raise ModuleNotFoundError("No module named 'other'")

    peers = {"plain PyTorch loop": peer(2.0), "skvae": peer(1.0), "other": missing}
    monkeypatch.setattr(speed, "PEERS", peers)
    path = tmp_path / "speed.jsonl"
    size = speed.QUICK._replace(batch_sizes=(32,))
    speed.run("epoch", size, path)
    speed.run("epoch", size, path)  # finished: not run again
    assert len(path.read_text().splitlines()) == 1
    speed.report(path)
    text = path.with_suffix(".md").read_text()
    assert "| epoch of P2, batch 32, to the plain loop's | 0.65 | 0.50 | met |" in text
    assert "| other | - | ModuleNotFoundError: No module named 'other' |" in text


def test_quality_time_not_reached_is_missed(speed):
    fit = {"fit_seconds": 2.0, "seconds_before": 1.0, "elbo": 3.0}
    result = {
        "set": "made up",
        "n_train": 10,
        "n_timepoints": 5,
        "p2": {
            "elbo": 4.0,
            "seconds": 100.0,
            "all_seconds": 110.0,
            "n_epochs": 9,
            "ended": "patience",
        },
        "skvae": [fit | {"seconds": value} for value in (1.0, None, None)],
    }
    [(_, _, reached, met)], section = speed.quality_section([result])
    assert (reached, met) == ("inf", False)
    assert "1 of 3 fits" in section
    result["skvae"][1]["seconds"] = 2.0
    [(_, _, reached, met)], _ = speed.quality_section([result])
    assert (reached, met) == ("0.020", True)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu")


def test_operations_and_bytes_of_a_small_network(gpu):
    """By hand, a batch of 5: the input, (5, 1, 6), needs no gradient."""
    module = nn.Sequential(
        nn.Conv1d(1, 2, 3, bias=False),  # (5, 2, 4), 6 weights
        nn.ReLU(),
        nn.ConvTranspose1d(2, 1, 3, bias=False),  # (5, 1, 6), 6 weights
        nn.Flatten(),
        nn.Linear(6, 3),  # (5, 3), 21 weights
    )
    n_operations, n_bytes = gpu.count_step(module, torch.zeros(5, 1, 6))
    # Output or, transposed, input positions times weights, forward and backward.
    assert n_operations == 2 * (2 * 20 * 6 + 3 * 20 * 6 + 3 * 5 * 18)
    conv = 2 * 30 + 2 * 40 + 3 * 6
    relu = 3 * 40 + 2 * 40
    transposed = 3 * 40 + 2 * 30 + 3 * 6
    linear = 3 * 30 + 2 * 15 + 3 * 21
    assert n_bytes == 4 * (conv + relu + transposed + linear + 7 * (6 + 6 + 21))


def test_operations_of_p2_are_those_of_skvae(gpu, fitted_p2):
    x = torch.zeros(32, 1, 336)
    plain, ours = gpu.p2.P2(), fitted_p2.module_.train()
    assert gpu.count_step(plain, x) == gpu.count_step(ours, x)


@pytest.mark.slow
def test_what_a_gpu_benchmark_does_on_a_cpu(gpu, tmp_path):
    gpu.run("cpu", gpu.TINY, tmp_path, ("checks", "counts", "epochs", "fits"))
    results = json.loads((tmp_path / "gpu.json").read_text())
    found = [row["result"] for row in results["checks"]]
    assert found.count("ok") == len(gpu.ON_CPU)
    assert set(found) == {"ok", "not measured"}
    assert [row.get("MFLOP") for row in results["counts"]] == [None, 349, 349, 172]
    for row in results["epochs"] + results["fits"]:
        assert not any(isinstance(value, float) for value in row.values())
        assert "not measured" in row.values()
    text = (tmp_path / "gpu.md").read_text()
    assert "no GPU" in text
    assert "FAILED" not in text


def test_a_check_that_fails_says_so(gpu, monkeypatch):
    def broken(device, X, y):
        raise RuntimeError("no\nmore")

    def wrong(device, X, y):
        return False, "1.0"

    monkeypatch.setattr(gpu, "ON_CPU", (broken, wrong))
    found = []
    for check in gpu.ON_CPU:
        run = gpu.partial(gpu.run_check, check, "cpu", None, None)
        found.append(gpu.attempt(run, "cpu")["result"])
    assert found == ["FAILED: RuntimeError: no", "FAILED"]
