"""Pickle, joblib, save and load: the same bits after, and no damaged file opens."""

import copy
import json
import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import conftest
import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from skorch.callbacks import EarlyStopping
from skorch.utils import noop

import skvae
from skvae import ConvVAETransformer
from skvae.saving import files

TINY = conftest.TINY | {"max_epochs": 2}
N_FLIPS = 1000


def saved_and_loaded(estimator, path):
    estimator.save(path)
    return ConvVAETransformer.load(path)


def pickled(estimator, path):
    return pickle.loads(pickle.dumps(estimator))


def dumped(estimator, path):
    joblib.dump(estimator, path, compress=3)
    return joblib.load(path)


def mapped(estimator, path):
    joblib.dump(estimator, path)
    return joblib.load(path, mmap_mode="r")  # arrays that cannot be written to


def saved_with_training(estimator, path):
    estimator.save(path, training=True)
    return ConvVAETransformer.load(path)


def copied(estimator, path):
    return copy.deepcopy(estimator)


ROUND_TRIPS = [pickled, dumped, mapped, saved_and_loaded]
WITH_OPTIMIZER = [saved_with_training, copied]


@pytest.fixture(scope="module")
def fitted(waves):
    return ConvVAETransformer(**TINY).fit(waves)


@pytest.fixture
def path(fitted, tmp_path):
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    return path


def assert_same_state(a, b, optimizer=True):
    """Equal attributes, weights and optimizer state, to the last bit."""
    assert files_content(a, optimizer) == files_content(b, optimizer)


def files_content(estimator, optimizer):
    tensors = {}
    attributes = {k: v for k, v in vars(estimator).items() if k != "net_"}
    attributes["scaler_"] = vars(estimator.scaler_)
    net = estimator.net_
    state = [attributes, dict(net.module_.state_dict())]
    if optimizer:
        state.append(net.optimizer_.state_dict())
    text = json.dumps(files.encode(state, tensors))
    return text, {name: array.tobytes() for name, array in tensors.items()}


def test_assert_same_state_sees_a_changed_weight(fitted):
    changed = copy.deepcopy(fitted)
    with torch.no_grad():
        changed.module_.decoder.output.bias[0] += 1e-6
    with pytest.raises(AssertionError):
        assert_same_state(fitted, changed)


# Round trips

SETTINGS = {
    "plain": {},
    "labels": {"label_weight": 1.0},
    "numbers": {"label_weight": 1.0, "linear_path": False},
    "signal alone": {"feature_weight": 0.0},
    "deep": {
        "beta": 0.1,  # in so few steps, no latent might be active
        "batch_size": 16,
        "batch_norm": True,
        "dropout": 0.2,
        "conv_channels": np.array([3, 5, 7]),
        "linear_path": False,
        "net_params": {"module__init": "glorot", "module__hidden_dropout": 0.1},
    },
    "bernoulli": {"likelihood": "bernoulli", "scale": "minmax", "whiten": True},
    "sgd": {
        "net_params": {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9},
    },
    "stopping": {
        "early_stopping": True,
        "patience": 1,
        "net_params": {"kl_warmup": 0.1},
    },
    "states": {
        "random_state": np.random.RandomState(3),
        "device": torch.device("cpu"),
        "checkpoint": None,
        "lr": np.float64(1e-3),
        "batch_size": np.int64(16),
        "callbacks": [],
    },
}


@pytest.mark.filterwarnings("ignore:This ConvVAETransformer was pickled, or saved")
@pytest.mark.parametrize("round_trip", ROUND_TRIPS + WITH_OPTIMIZER)
@pytest.mark.parametrize("setting", SETTINGS)
def test_same_bits_after_and_training_goes_on(waves, tmp_path, round_trip, setting):
    """With the optimizer's state exactly as it would have, else with a new optimizer.

    That one is what the estimator itself goes on with once its own has no state.
    """
    X = waves[:70]
    y = np.where(X.mean(axis=1) > 0, "high", "low").astype(object)
    if setting == "numbers":
        y = np.column_stack([X.mean(axis=1), X.std(axis=1)])
    estimator = ConvVAETransformer(**TINY | SETTINGS[setting]).fit(X, y)
    estimator.partial_fit(X, y)
    other = round_trip(estimator, tmp_path / "model")
    has_optimizer = round_trip in WITH_OPTIMIZER
    assert_same_state(estimator, other, has_optimizer)
    if not has_optimizer:
        assert other.net_.optimizer_ is None
        with_state = copy.deepcopy(estimator).partial_fit(X, y)
        estimator.net_.optimizer_.state.clear()
        estimator.net_.memory_ = None
    np.testing.assert_array_equal(estimator.transform(X), other.transform(X))
    np.testing.assert_array_equal(estimator.score_samples(X), other.score_samples(X))
    np.testing.assert_array_equal(estimator.sample(3), other.sample(3))
    for name, values in estimator.history_.items():
        np.testing.assert_array_equal(values, other.history_[name])
    if not has_optimizer:
        estimator.partial_fit(X, y)
        other.partial_fit(X, y)
        assert_same_state(estimator, other)
        weights, others = (e.module_.decoder.output.weight for e in (with_state, other))
        assert not torch.equal(weights, others)

    for e in (estimator, other):
        e.partial_fit(X, y).set_params(warm_start=True).fit(X, y)
    assert_same_state(estimator, other)


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_layout_names_and_output_container_are_kept(waves, tmp_path, round_trip):
    frame = pd.DataFrame(waves[:50], columns=[f"t{i}" for i in range(48)])
    estimator = ConvVAETransformer(**TINY, n_channels=2).fit(frame)
    estimator.set_output(transform="pandas")
    other = round_trip(estimator, tmp_path / "model")
    pd.testing.assert_frame_equal(estimator.transform(frame), other.transform(frame))
    np.testing.assert_array_equal(other.feature_names_in_, frame.columns)
    assert other.feature_names_in_.dtype == estimator.feature_names_in_.dtype

    X = waves[:50].reshape(50, 3, 16)
    other = round_trip(ConvVAETransformer(**TINY).fit(X), tmp_path / "model")
    assert other.reconstruct(X).shape == X.shape


def test_a_folder_that_is_not_there_is_named(fitted, tmp_path):
    path = tmp_path / "none" / "model"
    with pytest.raises(
        FileNotFoundError, match=r"'.*none' does not exist, create it"
    ) as error:
        fitted.save(path)
    assert error.value.filename == str(path)


def test_save_keeps_the_fitted_network_when_parameters_changed_since(waves, tmp_path):
    estimator = ConvVAETransformer(**TINY).fit(waves)
    estimator.set_params(latent_dim=5, conv_channels=(2,), feature_weight=0.0)
    other = saved_and_loaded(estimator, tmp_path / "model")
    assert other.latent_dim == 5
    np.testing.assert_array_equal(estimator.transform(waves), other.transform(waves))


@pytest.mark.parametrize("round_trip", [pickled, dumped])
def test_a_pipeline_predicts_the_same_after(waves, tmp_path, round_trip):
    y = waves.mean(axis=1) > 0
    pipeline = make_pipeline(ConvVAETransformer(**TINY), KNeighborsClassifier())
    pipeline.fit(waves, y)
    other = round_trip(pipeline, tmp_path / "pipeline")
    np.testing.assert_array_equal(
        pipeline.predict_proba(waves), other.predict_proba(waves)
    )


def test_a_pickled_net_is_plain_arrays_and_the_callbacks_of_the_caller(waves):
    """What reads types before it builds them, as skops does, finds none of PyTorch."""
    vae = ConvVAETransformer(**TINY, early_stopping=True, verbose=1).fit(waves)
    json.dumps(vae.net_.__getstate__(), default=np.ndarray.tolist)
    stopping = EarlyStopping("train_loss", patience=1, threshold=1e9, sink=noop)
    for name in ("stopping", "checkpoint"):  # also the name of a default one
        vae.set_params(callbacks=[(name, stopping)], max_epochs=4).fit(waves)
        [(kept, other)] = pickle.loads(pickle.dumps(vae)).net_.callbacks_
        assert kept == name
        assert other.misses_ == dict(vae.net_.callbacks_)[name].misses_ == 1


@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_size_is_that_of_the_weights(waves, tmp_path, early_stopping):
    """And, in a file that is asked for it, of the optimizer's state; not of much else.

    The history of an epoch takes a kilobyte or two, with 32 latents.
    """
    estimator = ConvVAETransformer(32, early_stopping=early_stopping, random_state=0)
    estimator.set_params(max_epochs=9).fit(waves)
    weights = size_of(estimator.module_.state_dict().values())
    states = estimator.net_.optimizer_.state.values()
    optimizer = size_of(value for state in states for value in state.values())
    assert min(weights, optimizer) > 2 * 50_000, "a second copy does not fit in"
    joblib.dump(make_pipeline(estimator), tmp_path / "pipeline")
    assert (tmp_path / "pipeline").stat().st_size < weights + 50_000
    assert len(pickle.dumps(estimator)) < weights + 50_000
    estimator.save(tmp_path / "model")
    assert (tmp_path / "model").stat().st_size < weights + 50_000
    estimator.save(tmp_path / "model", training=True)
    assert optimizer < (tmp_path / "model").stat().st_size - weights
    signals = estimator.net_.memory_.X.nbytes
    assert (tmp_path / "model").stat().st_size < weights + optimizer + signals + 50_000


def size_of(tensors):
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize("load", ["ConvVAETransformer.load", "joblib.load"])
def test_a_fresh_process_loads_and_transforms_in_half_a_second(fitted, tmp_path, load):
    """After imports."""
    fitted.save(tmp_path / "ConvVAETransformer.load")
    joblib.dump(make_pipeline(fitted), tmp_path / "joblib.load")
    code = f"""if True:
        import time, joblib, numpy
        from skvae import ConvVAETransformer
        start = time.perf_counter()
        {load}({load!r}).transform(numpy.zeros((1, 48)))
        print(time.perf_counter() - start)
    """
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, check=True)
    assert float(done.stdout) < 0.5


@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_size_does_not_depend_on_the_number_of_signals(waves, early_stopping):
    estimator = ConvVAETransformer(**TINY, early_stopping=early_stopping)
    few = len(pickle.dumps(estimator.fit(waves[:40])))
    many = len(pickle.dumps(estimator.fit(np.tile(waves, (5, 1)))))
    assert abs(many - few) < 200


def test_equal_estimators_give_equal_files(waves, tmp_path):
    for name in "ab":
        ConvVAETransformer(**TINY).fit(waves).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# What cannot be saved


def test_save_names_what_is_not_plain_data(fitted, tmp_path):
    path = tmp_path / "model"
    with pytest.raises(NotFittedError):
        ConvVAETransformer().save(path)
    estimator = copy.deepcopy(fitted).set_params(callbacks=[print])
    with pytest.raises(TypeError, match=r"parameters\.callbacks\[0\] is .*print"):
        estimator.save(path)
    mine = type("Mine", (torch.optim.SGD,), {})
    estimator.set_params(callbacks=None, net_params={"optimizer": mine})
    with pytest.raises(TypeError, match=r"parameters\.net_params\.optimizer is .*Mine"):
        estimator.save(path)
    assert os.listdir(tmp_path) == []


# What cannot be loaded


def rewrite(path, change):
    """Change the header of a file, and give it the checksum that it should have."""
    data = path.read_bytes()
    outer = json.loads(data[8 : files.header_size(data)])
    header = json.loads(outer["__metadata__"]["skvae"])
    checksum = header["checksum"]
    change(header)
    outer["__metadata__"]["skvae"] = json.dumps(header)
    text = json.dumps(outer).encode()
    tensors = data[files.header_size(data) :]
    data = len(text).to_bytes(8, "little") + text + tensors
    correct = files.checksum_of(data, checksum)
    path.write_bytes(data.replace(checksum.encode(), correct.encode(), 1))


def set_parameter(header, name, value):
    content = dict(header["content"]["dict"])
    content["parameters"]["dict"].append([name, value])


def test_rewrite_alone_gives_a_file_that_loads(path, fitted):
    rewrite(path, lambda header: None)
    assert_same_state(ConvVAETransformer.load(path), fitted, optimizer=False)


@pytest.mark.parametrize("suffix", ["pickle", "joblib", "gz"])
def test_load_refuses_pickles_and_does_not_run_them(tmp_path, suffix):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / f"model.{suffix}"
    if suffix == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        joblib.dump(Bomb(), path)
    with pytest.raises(ValueError, match=r"not a file written by skvae.*a pickle"):
        ConvVAETransformer.load(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, 2000, 0.5, 0.99, -1])
def test_load_refuses_a_truncated_file(path, size):
    data = path.read_bytes()
    path.write_bytes(data[: int(size * len(data)) if 0 < size < 1 else size])
    with pytest.raises(ValueError, match=r"truncated or damaged|is damaged"):
        ConvVAETransformer.load(path)


def test_load_refuses_any_changed_byte(path):
    """A thousand files with one random byte changed: none loads."""
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    n_loaded = 0
    for _ in range(N_FLIPS):
        position, change = rng.integers(len(data)), rng.integers(1, 256)
        flipped = bytearray(data)
        flipped[position] ^= change
        path.write_bytes(flipped)
        try:
            ConvVAETransformer.load(path)
        except ValueError:
            continue
        n_loaded += 1
    assert n_loaded == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(format=3), "estimator.*format 3, .*estimator.*format 2"),
        (lambda h: h.update(format=1), "estimator.*format 1, .*estimator.*format 2"),
        (lambda h: h.update(kind="checkpoint"), "kind .checkpoint.* Start the fit"),
        (lambda h: h.update(kind="forest"), "kind .forest.*Expected kind .estimator"),
        (lambda h: h.pop("format"), "not a file written by skvae"),
        (lambda h: h.pop("versions"), "not a file written by skvae"),
        (lambda h: set_parameter(h, "depth", 3), r"parameters \['depth'\]"),
        (
            lambda h: set_parameter(
                h, "net_params", {"optimizer": "Optimizer.__init__"}
            ),
            "kind 'optimizer'",
        ),
        (
            lambda h: set_parameter(h, "net_params", {"optimizer": "lr_scheduler"}),
            "kind 'optimizer'",
        ),
        (lambda h: set_parameter(h, "lr", {"call": "os.system"}), "kind 'call'"),
    ],
)
def test_load_refuses_what_it_does_not_know(path, change, message):
    rewrite(path, change)
    with pytest.raises(ValueError, match=message):
        ConvVAETransformer.load(path)


def test_load_refuses_other_files(tmp_path):
    from safetensors.numpy import save_file

    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        ConvVAETransformer.load(tmp_path / "none.safetensors")
    save_file({"weight": np.zeros(3)}, tmp_path / "other", metadata={"skvae": "{}"})
    with pytest.raises(ValueError, match="not a file written by skvae"):
        ConvVAETransformer.load(tmp_path / "other")


@pytest.mark.parametrize("version", ["9.9", "0.10.0", skvae.__version__ + ".post1"])
def test_load_refuses_a_file_of_a_newer_version_and_names_both(path, version):
    rewrite(path, lambda header: header["versions"].update(skvae=version))
    both = (
        rf"skvae {re.escape(version)}, newer than skvae {re.escape(skvae.__version__)}"
    )
    with pytest.raises(ValueError, match=both):
        ConvVAETransformer.load(path)
    rewrite(path, lambda header: header.update(format=3))
    both = f"format 3, .* skvae {version}.* skvae {skvae.__version__}, installed"
    with pytest.raises(ValueError, match=both):
        ConvVAETransformer.load(path)


def test_load_warns_of_other_versions(path):
    def change(header):
        header["versions"].update(torch="1.0", skvae="0.0.9")

    rewrite(path, change)
    with pytest.warns(UserWarning, match=r"skvae 0\.0\.9 \(here .*torch 1\.0 \(here"):
        ConvVAETransformer.load(path)

    def change_build(header):
        header["versions"].update(files.versions())
        header["versions"]["torch"] = torch.__version__.split("+")[0] + "+cu999"

    rewrite(path, change_build)
    ConvVAETransformer.load(path)  # another build of the same version: no warning


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file(path, fitted, monkeypatch, failing):
    before = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, failing, fail)
    with pytest.raises(OSError, match="disk full"):
        fitted.save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_writers_at_once_leave_the_file_of_one(tmp_path):
    """Four threads replace a file 50 times each; what is read meanwhile is whole."""
    path = tmp_path / "file"
    contents = [{"x": np.full(10_000, i)} for i in range(4)]
    files.write(path, "test", contents[0])
    with ThreadPoolExecutor(4) as threads:
        writes = [threads.submit(files.write, path, "test", c) for c in 50 * contents]
        while not all(write.done() for write in writes):
            assert len(set(files.read(path, "test")["x"])) == 1
        for write in writes:
            write.result()
    assert os.listdir(tmp_path) == ["file"]


# Types


@pytest.mark.parametrize(
    "value",
    [
        (1, [2.5, (None, "é"), True], {(0, "a"): {1: -0.0}}),
        [np.inf, -np.inf, np.float32(0.1), np.int8(-3), np.bool_(True), np.str_("a")],
        np.array([np.nan, np.inf, -0.0, 5e-324]),
        np.arange(12, dtype=np.int16).reshape(3, 4).T,
        np.array(True),
        np.array(["a", None, 3], dtype=object),
        np.array([["ab", "c"]]),
        {"a": torch.arange(6).reshape(2, 3).T, "b": {}, "c": ()},
        torch.device("cuda:1"),
        torch.optim.AdamW,
    ],
    ids=str,
)
def test_what_is_written_is_read(tmp_path, value):
    def exact(value):
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, (np.ndarray, torch.Tensor)):
            values = np.asarray(value)
            return type(value), values.dtype, values.shape, repr(values.tolist())
        if isinstance(value, dict):
            return [(k, exact(v)) for k, v in value.items()]
        if isinstance(value, (list, tuple)):
            return type(value), [exact(v) for v in value]
        return type(value), repr(value)

    files.write(tmp_path / "file", "test", {"value": value})
    assert exact(files.read(tmp_path / "file", "test")["value"]) == exact(value)


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        b"bytes",
        1j,
        print,
        int,
        np.zeros(2, complex),
        np.zeros(2, "f4,i4"),
        np.array([b"a"]),
        np.array([print]),
        torch.nn.ReLU,
        np.random.default_rng(0),
    ],
    ids=str,
)
def test_other_types_are_refused(tmp_path, value):
    with pytest.raises(TypeError, match=r"a\[0\].*without pickle"):
        files.write(tmp_path / "file", "test", {"a": [value]})
    assert os.listdir(tmp_path) == []


# Devices


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
@pytest.mark.parametrize("has_cuda", [False, True])
@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
@pytest.mark.parametrize("fitted_on", ["cpu", "cuda"])
def test_device_and_net_agree_wherever_it_is_loaded(
    waves, fitted, tmp_path, monkeypatch, fitted_on, device, has_cuda, round_trip
):
    """The moves are recorded, not made, so that this needs no GPU."""
    estimator = copy.deepcopy(fitted).set_params(device=device)
    estimator.net_.device = fitted_on
    other = round_trip(estimator, tmp_path / "model")
    assert other.device == device
    assert other.net_.device == "cpu", "every machine has it"

    moves = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, to: moves.append(to))
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, to: tensor)
    # Reading moves nothing, so that what is shown does not change what is used.
    assert other.module_ is other.net_.module_
    assert other.n_active_dims_ == fitted.n_active_dims_
    assert repr(other) in repr([other])
    assert other._repr_html_()
    assert other.net_.device == "cpu"
    assert moves == []

    expected = "cuda" if has_cuda and device != "cpu" else "cpu"
    if device == "cuda" and not has_cuda:
        with pytest.warns(UserWarning, match="sees no GPU"):
            Z = other.transform(waves)
    else:
        Z = other.transform(waves)
    assert other.net_.device == expected
    assert moves == ([expected] if expected != "cpu" else [])
    np.testing.assert_array_equal(Z, fitted.transform(waves))


def test_a_pickle_of_another_version_warns(fitted, waves, monkeypatch):
    same = pickle.loads(pickle.dumps(fitted))  # without a warning
    assert vars(same).keys() == vars(fitted).keys()
    monkeypatch.setattr(skvae, "__version__", "9.9.9")
    written = pickle.dumps(fitted)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match=r"written with skvae 9\.9\.9 \(here"):
        other = pickle.loads(written)
    np.testing.assert_array_equal(other.transform(waves), fitted.transform(waves))


def test_training_on_a_missing_gpu_raises(waves, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="sees no GPU"):
        ConvVAETransformer(**TINY | {"device": "cuda"}).fit(waves)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_a_gpu_fit_opens_where_there_is_none(waves, tmp_path, monkeypatch, round_trip):
    estimator = ConvVAETransformer(**TINY).fit(waves)
    assert estimator.net_.device == "cuda"
    on_gpu = estimator.transform(waves)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    other = round_trip(estimator, tmp_path / "model")
    on_cpu = other.transform(waves)
    assert other.net_.device == "cpu"
    assert all(p.device.type == "cpu" for p in other.net_.module_.parameters())
    np.testing.assert_allclose(on_cpu, on_gpu, rtol=1e-3, atol=1e-4)
    other.partial_fit(waves)
    monkeypatch.undo()
    np.testing.assert_allclose(other.transform(waves), other.transform(waves))
    assert other.net_.device == "cuda"
    other.partial_fit(waves)


def test_requests_of_metadata_are_left_out(fitted, tmp_path):
    with config_context(enable_metadata_routing=True):
        vae = copy.deepcopy(fitted).set_partial_fit_request(classes=True)
    vae.save(tmp_path / "vae")
    assert not hasattr(ConvVAETransformer.load(tmp_path / "vae"), "_metadata_request")


def test_load_goes_to_workers_of_a_cluster(waves, tmp_path):
    """Dask pickles a bound class method by cloudpickle, which new joblib needs too."""
    cloudpickle = pytest.importorskip("cloudpickle")
    vae = ConvVAETransformer(2, max_epochs=0, random_state=0).fit(waves)
    vae.save(tmp_path / "vae.safetensors")
    load = pickle.loads(cloudpickle.dumps(ConvVAETransformer.load))
    loaded = load(tmp_path / "vae.safetensors")
    np.testing.assert_array_equal(loaded.transform(waves), vae.transform(waves))
