"""Any input to any method: a finite result, or ValueError or TypeError, no change.

A few hundred cases; ``HYPOTHESIS_PROFILE=full`` runs more than 2000. With
``pytest -s`` the cases are counted by outcome.
"""

import copy
import os
import pickle
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skvae import ConvVAETransformer

N_SAMPLES, N_TIMEPOINTS, LATENT_DIM = 6, 12, 2
PROFILES = {"default": 25, "full": 200}
N_EXAMPLES = PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "default")]

common = settings(
    max_examples=N_EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

DTYPES = [
    *("?", "i1", "u1", "i2", "<i4", ">i4", "i8", "u8", "f2", "<f4", ">f4", "<f8"),
    *(">f8", "g", "F", "D", "G", "O", "U5", "S5", "M8[s]", "m8[ms]", "V4", "f4,i4"),
]
VALUES = {
    "normal": 1.0,
    "tiny": 1e-30,
    "denormal": 1e-310,
    "large": 1e30,
    "beyond float32": 1e200,
    "zero": 0.0,
}
FLAWS = {"none": None, "nan": np.nan, "inf": np.inf, "-inf": -np.inf}


@st.composite
def arrays(draw):
    """An array of any dtype, most often of the shape that fits."""
    n, t = N_SAMPLES, N_TIMEPOINTS
    fitting = st.sampled_from([(n, t), (n, 1, t), (2, t), (n, LATENT_DIM)])
    strange = st.lists(st.integers(0, 5), max_size=5).map(tuple)
    shape = draw(st.one_of(*[fitting] * 5, strange))
    size = int(np.prod(shape))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = (
        rng.standard_normal(size)
        * VALUES[draw(st.sampled_from(["normal"] * 20 + [*VALUES]))]
    )
    flaw = FLAWS[draw(st.sampled_from(["none"] * 30 + [*FLAWS]))]
    if flaw is not None and size:
        values[rng.integers(size)] = flaw
    dtype = np.dtype(draw(st.sampled_from(["f8"] * 9 + ["f4"] * 9 + DTYPES)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dtype.kind == "V":
            return np.zeros(shape, dtype)
        if dtype.kind in "mM":
            values = np.nan_to_num(values, posinf=9, neginf=-9).clip(-9, 9).astype("i8")
        if dtype.kind == "O" and draw(st.booleans()) and size:
            values = values.astype(object)
            values[rng.integers(size)] = draw(st.sampled_from([None, "one", [1], {}]))
        return values.astype(dtype).reshape(shape)


def memory_map(X):
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, X.dtype, "w+", shape=X.shape)
        mapped[...] = X
        return mapped


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def masked(X):
    mask = np.zeros(X.shape, dtype=bool)
    mask.flat[:1] = True
    return np.ma.array(X, mask=mask)


CONTAINERS = {
    "array": lambda X: X,
    "fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=-1)[..., ::2],
    "reversed": lambda X: X[::-1],
    "read-only": read_only,
    "memory map": memory_map,
    "masked": masked,
    "nothing masked": np.ma.array,
    "list": lambda X: X.tolist(),
    "tuple": lambda X: tuple(X.tolist()),
    "ragged": lambda X: [row[: i + 1] for i, row in enumerate(X.tolist())],
    "csr": scipy.sparse.csr_matrix,
    "csc array": scipy.sparse.csc_array,
    "pandas": pd.DataFrame,
    "pandas names": lambda X: pd.DataFrame(X).rename(columns="t{}".format),
    "series": pd.Series,
    "polars": pl.DataFrame,
    "tensor": torch.as_tensor,
    "gradient": lambda X: torch.as_tensor(X).requires_grad_(),
    "iterator": iter,
    "dict": lambda X: {"X": X},
    "text": str,
    "none": lambda X: None,
    "number": lambda X: 3,
}


@st.composite
def inputs(draw):
    """What a user may pass, in a container that can hold it."""
    X = draw(arrays())
    container = draw(st.sampled_from(["array"] * 60 + [*CONTAINERS]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return CONTAINERS[container](X)
        except Exception:  # this container cannot hold this array, so no case
            return X


def make_estimator(**kwargs):
    return ConvVAETransformer(
        LATENT_DIM,
        conv_channels=(2,),
        kernel_size=3,
        hidden_dims=(4,),
        max_epochs=1,
        random_state=0,
        device="cpu",
        **kwargs,
    )


OUTCOMES = Counter()


@pytest.fixture(scope="module", autouse=True)
def count_outcomes():
    OUTCOMES.clear()
    yield
    print(f"\n{OUTCOMES.total()} cases: {dict(OUTCOMES)}")


@pytest.fixture(scope="module")
def fitted():
    X = np.random.default_rng(0).standard_normal((N_SAMPLES, N_TIMEPOINTS))
    return make_estimator().fit(X)


def state(estimator):
    """All that an estimator holds, as bytes."""
    return pickle.dumps(estimator)


def outcome(call, X):
    """What became of a call; any other exception or warning fails the test.

    The finite results are checked.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "No latent dimension is active")
        warnings.filterwarnings("ignore", "X (has|does not have valid) feature names")
        warnings.filterwarnings("ignore", "A column-vector y was passed")
        # Inputs are drawn from all sizes, with some far off, and targets are random.
        warnings.filterwarnings("ignore", "[Xy] has (the value|values far) ")
        warnings.filterwarnings("ignore", "y (cannot be predicted|is constant)")
        try:
            result = call(X)
        except (ValueError, TypeError) as error:
            OUTCOMES["TypeError" if isinstance(error, TypeError) else "ValueError"] += 1
            return None
    for values in result if isinstance(result, tuple) else (result,):
        assert np.isfinite(np.asarray(values)).all()
    OUTCOMES["finite"] += 1
    return result


READERS = ["transform", "reconstruct", "posterior", "score_samples", "score"]


@pytest.mark.parametrize("method", [*READERS, "inverse_transform"])
@common
@given(X=inputs())
def test_reading(fitted, method, X):
    before = vars(fitted).copy()
    outcome(getattr(fitted, method), X)
    assert vars(fitted).keys() == before.keys()
    assert all(vars(fitted)[name] is value for name, value in before.items())


@pytest.mark.parametrize("start", ["new", "fitted", "warm"])
@common
@given(X=inputs(), scale=st.sampled_from(["standard", "minmax"]))
def test_training(fitted, start, X, scale):
    estimator = make_estimator(scale=scale)
    if start != "new":
        estimator = copy.deepcopy(fitted).set_params(warm_start=start == "warm")
    before = state(estimator)
    result = outcome(lambda X: estimator.fit_transform(X), X)
    if result is None:
        assert state(estimator) == before
    else:
        assert result.dtype == np.float32
        assert result.shape[1] == LATENT_DIM


@common
@given(X=inputs())
def test_training_goes_on(fitted, X):
    estimator = copy.deepcopy(fitted)
    before = state(estimator)
    if outcome(lambda X: estimator.partial_fit(X).transform(X), X) is None:
        assert state(estimator) == before


@common
@given(y=inputs())
def test_labels(y):
    X = np.random.default_rng(0).standard_normal((N_SAMPLES, N_TIMEPOINTS))
    estimator = make_estimator(label_weight=1.0)
    before = state(estimator)
    if outcome(lambda y: estimator.fit(X, y).transform(X), y) is None:
        assert state(estimator) == before


PARAMETERS = st.sampled_from(
    [
        *(None, -1, 0, 1, 2, 3, 10**6, 0.0, 0.5, 1e-300, 1e300, -0.1, True, False),
        *(np.nan, np.inf, np.int64(3), np.float32(0.5), "auto", "text", "", b"bytes"),
        *((), (2,), [2, 3], (2, -1), (0,), ("a",), np.array([2, 3]), {}, {"lr": 1}),
        *(object(), int, torch.optim.SGD, Path("path"), "cuda", "minmax", 1j),
    ]
)
SAFE = sorted(set(ConvVAETransformer().get_params()) - {"checkpoint", "verbose"})


def is_same(a, b):
    """The same parameter values: the same objects, arrays and all."""
    return a.keys() == b.keys() and all(a[name] is b[name] for name in a)


def test_is_same_tells_estimators_apart():
    """So that the assertions below cannot be passed by accident."""
    estimator = make_estimator()
    before = vars(estimator).copy()
    assert is_same(vars(estimator), before)
    assert not is_same(vars(estimator), vars(make_estimator(lr=0.5)))
    estimator.lr = 0.5
    assert not is_same(vars(estimator), before)
    estimator.lr = before["lr"]
    estimator.n_features_in_ = 3
    assert not is_same(vars(estimator), before)


def test_parameters(fitted):
    """Each value for each parameter, on a new estimator or a fitted one."""
    X = np.random.default_rng(0).uniform(size=(N_SAMPLES, N_TIMEPOINTS))
    y = np.arange(N_SAMPLES) % 2
    n_outcomes = Counter()

    @settings(common, max_examples=4 * N_EXAMPLES)
    @given(name=st.sampled_from(SAFE), value=PARAMETERS, is_fitted=st.booleans())
    def check(name, value, is_fitted):
        huge = isinstance(value, (int, float)) and abs(value) > 1e4
        if huge and name in ("max_epochs", "latent_dim", "kernel_size", "stride"):
            return  # valid, and takes for ever
        estimator = copy.copy(fitted) if is_fitted else make_estimator()
        estimator.set_params(**{name: value})
        before = vars(estimator).copy()
        given_parameters = estimator.get_params(deep=False)
        try:
            result = outcome(lambda X: estimator.fit(X, y).transform(X), X)
        except FloatingPointError:  # a learning rate of 1e300 is a valid one
            result = None
        n_outcomes["refused" if result is None else "fitted"] += 1
        if result is None:
            assert is_same(vars(estimator), before)
            return
        # As they were given, whatever they were; and the result is of that fit.
        assert is_same(estimator.get_params(deep=False), given_parameters)
        assert estimator.net_ is not before.get("net_")
        assert result.shape == (N_SAMPLES, estimator.latent_dim)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(estimator.transform(X), result)

    check()
    assert min(n_outcomes["refused"], n_outcomes["fitted"]) > 10
