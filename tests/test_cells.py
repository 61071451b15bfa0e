"""Signals in the cells of tables, and array-likes: the latents of the plain array."""

import copy
import io
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.io
import sklearn
import torch

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles
from skvae.plotting import ReconstructionDisplay
from skvae.sklearn_private import parse_version

pa = pytest.importorskip("pyarrow")

X = make_load_profiles(40, n_timepoints=24, random_state=0)[0].astype(np.float64)
GAPS = X.copy()
GAPS[::3, 5:9] = np.nan
CUBE = np.stack([GAPS, 2 - GAPS[:, ::-1]], axis=1)
INDEX = [f"s{i}" for i in range(len(X))]


def make_vae():
    return ConvVAETransformer(4, random_state=0, max_epochs=0, device="cpu")


def objects(signals):
    result = np.empty(len(signals), object)
    result[:] = [*signals]
    return result


def matlab(signals):
    """As scipy reads a cell array that it wrote."""
    file = io.BytesIO()
    scipy.io.savemat(file, {"trials": objects(signals)})
    return scipy.io.loadmat(file)["trials"]


class Lazy:
    """An array that is read when NumPy asks for it."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


class LazyList(Sequence):
    """A column that reads a signal at a time."""

    def __init__(self, signals):
        self.signals = signals

    def __len__(self):
        return len(self.signals)

    def __getitem__(self, i):
        return self.signals[i]


ARROW = pd.ArrowDtype(pa.list_(pa.float64()))
CELLS = {
    "Series": lambda: pd.Series([*GAPS], INDEX),
    "Series of lists": lambda: pd.Series(GAPS.tolist()),
    "Series of Series": lambda: pd.Series([pd.Series(x) for x in GAPS]),
    "Arrow lists": lambda: pd.Series([*GAPS], INDEX, dtype=ARROW),
    "frame": lambda: pd.DataFrame({"signal": [*GAPS]}, INDEX),
    "frame of Arrow lists": lambda: pd.DataFrame(
        {"s": pd.Series([*GAPS], dtype=ARROW)}
    ),
    "polars Array": lambda: pl.Series([*GAPS], dtype=pl.Array(pl.Float64, 24)),
    "polars List": lambda: pl.Series("s", GAPS.tolist()),
    "polars frame": lambda: pl.DataFrame({"s": pl.Series(GAPS.tolist())}),
    "pyarrow Array": lambda: pa.array(GAPS.tolist()),
    "pyarrow Table": lambda: pa.table({"s": pa.array(GAPS.tolist())}),
    "cells (1, n)": lambda: matlab(GAPS),
    "cells (n, 1)": lambda: matlab(GAPS).T,
    "cells of columns": lambda: matlab([x[:, None] for x in GAPS]),
    "lazy list": lambda: LazyList(GAPS),
}
CHANNELS = {
    "two columns": lambda: pd.DataFrame(
        {"a": [*CUBE[:, 0]], "b": [*CUBE[:, 1]]}, INDEX
    ),
    "nested of sktime": lambda: pd.DataFrame(
        {name: [pd.Series(x) for x in CUBE[:, k]] for k, name in enumerate("ab")}
    ),
    "two columns of polars": lambda: pl.DataFrame(
        {name: pl.Series(CUBE[:, k].tolist()) for k, name in enumerate("ab")}
    ),
    "two columns of pyarrow": lambda: pa.table(
        {name: pa.array(CUBE[:, k].tolist()) for k, name in enumerate("ab")}
    ),
    "Series of 2-D arrays": lambda: pd.Series([*CUBE]),
    "Series of arrays of arrays": lambda: pd.Series([objects(x) for x in CUBE]),
    "lists of lists of pyarrow": lambda: pa.array(CUBE.tolist()),
    "polars Array of two dimensions": lambda: pl.Series(
        CUBE.tolist(), dtype=pl.Array(pl.Float64, (2, 24))
    ),
    "polars lists of lists": lambda: pl.DataFrame({"eeg": pl.Series(CUBE.tolist())}),
    "tensors of pyarrow": lambda: pa.table(
        {"eeg": pa.FixedShapeTensorArray.from_numpy_ndarray(CUBE)}
    ),
    "tensors of Arrow in pandas": lambda: pd.DataFrame(
        {
            "eeg": pd.Series(
                pa.FixedShapeTensorArray.from_numpy_ndarray(CUBE),
                dtype=pd.ArrowDtype(pa.fixed_shape_tensor(pa.float64(), (2, 24))),
            )
        }
    ),
    "cells (n, 2)": lambda: np.array([objects(x) for x in CUBE]),
}


def values_of(container):
    """Signals (n, 24) or (n, 2, 24) of a container of cells, of whatever library."""
    if isinstance(container, (pa.Array, pa.Table)):
        container = container.to_pandas()
    if isinstance(container, (pd.DataFrame, pl.DataFrame)):
        columns = [values_of(container[name]) for name in container.columns]
        return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
    rows = container.ravel() if isinstance(container, np.ndarray) else container
    rows = np.array([np.array([*x]) if np.ndim(x) else x for x in rows], dtype=float)
    return rows.reshape(40, 2, 24) if rows.size == CUBE.size else rows.reshape(40, 24)


@pytest.fixture(scope="module", params=[*CELLS, *CHANNELS])
def case(request):
    """A container, and the plain array of its signals."""
    is_one = request.param in CELLS
    return (CELLS | CHANNELS)[request.param](), GAPS if is_one else CUBE


@pytest.fixture(scope="module")
def fitted():
    return {plain.ndim: make_vae().fit(plain) for plain in (GAPS, CUBE)}


def test_cells_are_the_plain_array(case, fitted):
    cells, plain = case
    expected, vae = fitted[plain.ndim], make_vae().fit(cells)
    shape = vae.n_dims_in_, vae.n_channels_in_, vae.n_timepoints_in_
    assert shape == (plain.ndim, plain[0].size // 24, 24)
    np.testing.assert_array_equal(vae.transform(cells), expected.transform(plain))
    np.testing.assert_array_equal(expected.transform(cells), expected.transform(plain))
    assert vae.score(cells) == expected.score(plain)
    again = vae.partial_fit(cells).transform(cells)
    assert again.shape == (40, 4)


def test_what_comes_back_has_the_form_of_the_cells(case, fitted):
    cells, plain = case
    vae = fitted[plain.ndim]
    filled, std = vae.impute(cells, return_std=True)
    expected, expected_std = vae.impute(plain, return_std=True)
    for got, values in ((filled, expected), (std, expected_std)):
        assert type(got) is (list if isinstance(cells, LazyList) else type(cells))
        np.testing.assert_array_equal(values_of(got), values)
    got = vae.reconstruct(cells)
    np.testing.assert_array_equal(values_of(got), vae.reconstruct(plain))
    if isinstance(cells, (pd.DataFrame, pd.Series)):
        assert filled.index.equals(cells.index)
        assert got.index.equals(cells.index)
    if isinstance(cells, (pd.DataFrame, pl.DataFrame)):
        assert list(filled.columns) == list(got.columns) == list(cells.columns)
    if hasattr(cells, "dtype"):  # also of tensors, which are a frame here
        assert filled.dtype == cells.dtype


@pytest.mark.parametrize("form", ["Series", "frame", "two columns"])
def test_the_index_of_cells_comes_back_with_the_latents(form):
    if form == "Series" and parse_version(sklearn.__version__) < parse_version("1.7"):
        pytest.skip("scikit-learn before 1.7 keeps the index of DataFrames alone")
    vae = make_vae().set_output(transform="pandas")
    assert list(vae.fit_transform((CELLS | CHANNELS)[form]()).index) == INDEX


def test_cells_come_back_as_cells_where_set_output_asks_for_frames():
    for name in ("cells (1, n)", "frame", "polars frame", "pyarrow Table"):
        cells = CELLS[name]()
        vae = make_vae().set_output(transform="pandas").fit(cells)
        assert type(vae.reconstruct(cells)) is type(cells)
        assert type(vae.impute(cells)) is type(cells)


def test_unequal_lengths_in_cells_are_a_list():
    ragged = [x[: 24 - i % 3] for i, x in enumerate(X)]
    vae = make_vae().fit(ragged)
    expected = vae.transform(ragged)
    for cells in (
        pd.Series(ragged, INDEX),
        pd.DataFrame({"signal": ragged}),
        pl.Series([x.tolist() for x in ragged]),
        pa.table({"s": pa.array([x.tolist() for x in ragged])}),
        matlab(ragged),
        objects(ragged)[:, None],
    ):
        np.testing.assert_array_equal(vae.transform(cells), expected)
        back = vae.reconstruct(cells)
        back = back.to_pandas() if isinstance(back, pa.Table) else back
        if isinstance(back, pd.DataFrame):
            back = back.iloc[:, 0]
        if isinstance(back, np.ndarray):
            back = back.ravel()
        assert [np.size(x) for x in back] == [x.size for x in ragged]


def test_channels_are_found_by_their_names():
    frame = CHANNELS["two columns"]()
    vae = make_vae().fit(frame)
    assert vae.channel_names_in_ == ["a", "b"]
    other = frame[["b", "a"]]
    np.testing.assert_array_equal(vae.transform(other), vae.transform(frame))
    assert list(vae.impute(other).columns) == ["b", "a"]
    np.testing.assert_array_equal(
        values_of(vae.impute(other)[["a", "b"]]), vae.impute(CUBE)
    )
    with pytest.raises(ValueError, match=r"channels \['a', 'c'\], .*fitted on \['a', "):
        vae.transform(frame.rename(columns={"b": "c"}))


def test_one_channel_of_several_is_refused(fitted):
    frame = CHANNELS["two columns"]()
    message = r"one channel in its cells, of shape \(24,\), but .* had "
    with pytest.raises(ValueError, match=message + r"\['a', 'b'\]\. Pass"):
        make_vae().fit(frame).transform(frame[["a"]])
    with pytest.raises(ValueError, match=message):
        fitted[3].transform(frame["a"])


def test_estimators_of_older_files_know_no_names(fitted):
    vae = copy.copy(fitted[2])
    vars(vae).pop("channel_names_in_")
    vars(vae).pop("timepoints_in_")
    frame = pd.DataFrame(GAPS)
    np.testing.assert_array_equal(vae.transform(frame), fitted[2].transform(GAPS))


@pytest.mark.parametrize("form", [pl.Series, pd.Series, pa.array])
def test_gaps_in_whole_numbers_are_filled_by_numbers(form, fitted):
    whole = np.round(GAPS * 100)
    cells = [[None if x != x else int(x) for x in row] for row in whole]
    vae = make_vae().fit(whole)
    np.testing.assert_array_equal(values_of(vae.impute(form(cells))), vae.impute(whole))


def test_a_channel_that_is_missing_is_nan():
    frame = CHANNELS["two columns"]()
    frame.iat[3, 1] = None
    cube = CUBE.copy()
    cube[3, 1] = np.nan
    np.testing.assert_array_equal(
        make_vae().fit(frame).transform(frame), make_vae().fit(cube).transform(cube)
    )


def test_displays_take_cells(fitted):
    display = ReconstructionDisplay.from_estimator(fitted[3], CHANNELS["two columns"]())
    assert display.signals.shape == (40, 2, 24)


LONG_TEXT = "[" + ", ".join(map(str, X[0])) + "]"
UNCLEAR = {
    "columns beside": (
        pd.DataFrame({"id": range(40), "signal": [*X], "kind": ["a"] * 40}),
        r"cells of its columns \['signal'\], but not in \['id', 'kind'\].*"
        r"X\[\['signal'\]\]",
    ),
    "texts": (
        pd.DataFrame({"signal": [LONG_TEXT] * 40}),
        r"text, first .*in column 'signal'.*json\.loads",
    ),
    "dicts": (
        pd.DataFrame({"audio": [{"array": x, "rate": 9} for x in X]}),
        r"Sample 0 of X, of type dict, .*\[x\[key\] for x in X\].*'array', 'rate'",
    ),
    "nothing": (
        pd.Series([*X[:3], None]),
        "Sample 3 of X, of type NoneType, is .*missing: leave it out",
    ),
    "channels of unequal rates": (
        pd.DataFrame({"a": [*X], "b": [*X[:, ::2]]}),
        r"Sample 0 of X has channels of several shapes, \[\(24,\), \(12,\)\] in",
    ),
    "records": (
        np.zeros(9, [("v1", float), ("v2", float)]),
        r"records with the fields \('v1', 'v2'\).*numpy\.array",
    ),
    "a generator": ((x for x in X), r"is a generator.*list\(X\)"),
    "a set": ({1.0, 2.0}, r"is a set.*list\(X\)"),
    "a dict": ({"X": X, "y": 0}, r"is a dict.*X\[key\].*\['X', 'y'\] with signals"),
    "a LazyFrame": (pl.DataFrame(X).lazy(), r"LazyFrame.*X\.collect\(\)"),
    "a path": ("signals.csv", r"is a str.*Read the file first"),
    "None": (None, r"is a NoneType, which is not an array.*Pass an array"),
    "ragged": (Lazy([[1.0, 2.0], [3.0]]), r"Lazy, which is not an array.*list\(X\)"),
    "one signal": (X[0], r"1D array instead, of shape \(24,\)\. Reshape your data"),
    "one Series": (pd.Series(X[0]), r"1D array instead, of shape \(24,\)"),
    "a sparse Tensor": (torch.eye(3).to_sparse(), r"sparse Tensor. Pass X\.to_dense"),
    "nested Tensor": (
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
        r"nested Tensor. Pass list\(X\.unbind\(\)\)",
    ),
    "a reader": (pa.table({"x": [1.0]}).to_reader(), r"Pass X\.read_all\(\)"),
    "a name twice": (
        pd.DataFrame(X).rename(columns={3: 2}),
        r"several columns named 2\. .*X\.to_numpy\(\)",
    ),
    "masked, lazy": (Lazy(np.ma.masked_less(X, 0.1)), "masked"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_is_unclear_is_said_in_few_words(name):
    given, message = UNCLEAR[name]
    if name == "masked, lazy":
        given.__class__.__array__ = lambda self, dtype=None, copy=None: self.values
    with pytest.raises(ValueError, match=message) as error:
        make_vae().fit(given)
    assert len(str(error.value)) < 400


# Types of numbers


def to_bfloat16(values):
    return torch.as_tensor(values).bfloat16()


@pytest.mark.parametrize("form", [to_bfloat16, lambda x: [*to_bfloat16(x)]])
def test_bfloat16_is_a_type_of_numbers(form, fitted):
    expected = to_bfloat16(X).float().numpy()
    vae = fitted[2]
    np.testing.assert_array_equal(vae.transform(form(X)), vae.transform(expected))
    Z = vae.transform(X)
    np.testing.assert_array_equal(
        vae.inverse_transform(to_bfloat16(Z)),
        vae.inverse_transform(to_bfloat16(Z).float()),
    )
    y = X[:, 3]
    vae = make_vae().set_params(label_weight=1.0)
    got = vae.fit(X, to_bfloat16(y)).target_offset_
    assert got == vae.fit(X, to_bfloat16(y).double()).target_offset_


DECIMALS = np.array([[Decimal(f"{x:.4f}") for x in row] for row in X], object)
DECIMAL_FRAMES = {
    "objects": lambda: pd.DataFrame(DECIMALS),
    "Arrow": lambda: pd.DataFrame(
        {
            f"t{k}": pd.Series([*values], dtype=pd.ArrowDtype(pa.decimal128(12, 4)))
            for k, values in enumerate(DECIMALS.T)
        }
    ),
    "polars": lambda: pl.DataFrame(
        {
            f"t{k}": pl.Series([*values], dtype=pl.Decimal(20, 4))
            for k, values in enumerate(DECIMALS.T)
        }
    ),
    "pyarrow": lambda: pa.table(
        {f"t{k}": pa.array([*v]) for k, v in enumerate(DECIMALS.T)}
    ),
    "array": lambda: DECIMALS,
}


@pytest.mark.parametrize("form", DECIMAL_FRAMES)
def test_decimals_are_numbers(form):
    plain = np.round(X, 4)
    frame = DECIMAL_FRAMES[form]()
    np.testing.assert_array_equal(
        make_vae().fit(frame).transform(frame), make_vae().fit(plain).transform(plain)
    )
    vae = make_vae().set_params(label_weight=1.0)
    got = vae.fit(X, DECIMALS[:, 3]).target_offset_
    assert got == vae.fit(X, plain[:, 3]).target_offset_
    with_gap = DECIMALS[:, 3].copy()
    with_gap[5] = None
    known = np.delete(plain[:, 3], 5)
    np.testing.assert_allclose(vae.fit(X, with_gap).target_offset_, known.mean())


def test_a_buffer_is_an_array(fitted):
    vae = fitted[2]
    np.testing.assert_array_equal(vae.transform(memoryview(X)), vae.transform(X))


def test_whole_numbers_in_cells_are_read():
    whole = (100 * X).astype(np.int16)
    np.testing.assert_array_equal(
        make_vae().fit(pd.Series([*whole])).transform(whole),
        make_vae().fit(whole).transform(whole),
    )


def test_sparse_columns_are_read():
    frame = pd.DataFrame(X).rename(columns=str)
    sparse = frame.astype(pd.SparseDtype(float, np.nan))
    np.testing.assert_array_equal(
        make_vae().fit(sparse).transform(sparse), make_vae().fit(X).transform(X)
    )


def test_standard_deviations_of_whole_numbers_are_no_whole_numbers(fitted):
    whole = np.ones((3, 24), int)
    _, std = fitted[2].impute(whole, return_std=True)
    assert std.dtype == float
