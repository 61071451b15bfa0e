"""Names of columns: channels and time steps; what looks like a mistake in X."""

import datetime as dt
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skvae import ConvVAETransformer
from skvae.inputs.columns import not_numbered, out_of_order, positions
from skvae.inputs.signals import check_signals

rng = np.random.default_rng(0)
TIME = np.arange(24) / 24
SMOOTH = np.sin(2 * np.pi * TIME + rng.normal(size=(40, 1)))
PRESSURE = 9 + 3 * np.sin(4 * np.pi * TIME + rng.normal(size=(40, 1)))
X = np.hstack([SMOOTH, PRESSURE])
PAIRS = pd.MultiIndex.from_product([["heat", "bar"], range(24)], names=["of", "step"])
TWO = pd.DataFrame(X, columns=PAIRS, index=[f"run {i}" for i in range(40)])


def make_vae(**params):
    return ConvVAETransformer(4, random_state=0, max_epochs=0, device="cpu", **params)


def fit(X, **params):
    """The estimator, fitted without a warning, or an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return make_vae(**params).fit(X)


# Two levels of columns


@pytest.mark.parametrize(
    "form",
    [
        lambda frame: frame,
        lambda frame: frame.swaplevel(axis=1),
        lambda frame: frame.swaplevel(axis=1).sort_index(axis=1),  # interleaved
        lambda frame: frame.rename(columns=lambda k: f"t{k}", level=1),
        lambda frame: frame.set_axis(
            pd.MultiIndex.from_product(
                [["heat", "bar"], pd.date_range("2024", periods=24)]
            ),
            axis=1,
        ),
    ],
)
def test_two_levels_are_channels_and_time_steps(form):
    frame = form(TWO)
    vae = fit(frame)
    assert (vae.n_channels_in_, vae.n_timepoints_in_) == (2, 24)
    first = vae.channel_names_in_.index("heat")
    signals = check_signals(make_vae(), frame, reset=True)
    np.testing.assert_array_equal(signals[:, first], SMOOTH)
    np.testing.assert_array_equal(signals[:, 1 - first], PRESSURE)
    vae.set_output(transform="pandas")
    gaps = frame.copy()
    gaps.iloc[::2, 5] = np.nan
    for got in (vae.impute(gaps), vae.reconstruct(gaps)):
        assert got.columns.equals(frame.columns)
        assert got.index.equals(frame.index)
    filled = vae.impute(gaps)
    pd.testing.assert_frame_equal(filled.where(gaps.notna()), gaps)
    np.testing.assert_allclose(vae.reconstruct(frame), frame, atol=1.5)


def test_columns_in_another_order_than_fitted_are_found():
    vae = fit(TWO)
    other = TWO[["bar", "heat"]].iloc[:, ::-1]
    np.testing.assert_array_equal(vae.transform(other), vae.transform(TWO))
    assert vae.impute(other).columns.equals(other.columns)
    numbers = pd.DataFrame(SMOOTH)
    vae = fit(numbers)
    texts = numbers[sorted(numbers, key=str)]
    np.testing.assert_array_equal(vae.transform(texts), vae.transform(numbers))


def test_other_channels_and_time_steps_than_fitted_are_told():
    vae = fit(TWO)
    with pytest.raises(
        ValueError, match=r"channels \['heat', 'mV'\].*\['heat', 'bar'\]"
    ):
        vae.transform(TWO.rename(columns={"bar": "mV"}, level=0))
    spectra = pd.DataFrame(SMOOTH, columns=np.linspace(1100.0, 1200.0, 24))
    vae = fit(spectra)
    vae.transform(spectra.set_axis(spectra.columns + 1e-7, axis=1))
    with pytest.warns(
        UserWarning, match="columns .* fitted X, first 1105 instead of 1100"
    ):
        vae.transform(spectra.set_axis(spectra.columns + 5, axis=1))


def test_levels_that_do_not_say_are_refused():
    both = [f"s{k}" for k in range(5)], [f"t{k}" for k in range(3)]
    for names in ([*"ab"], [*"pq"]), ([1, 2], [*"pqr"], [3, 4]), both:
        columns = pd.MultiIndex.from_product(names)
        frame = pd.DataFrame(np.ones((5, len(columns))), columns=columns)
        with pytest.raises(ValueError, match=r"X.to_numpy\(\) and n_channels"):
            make_vae().fit(frame)
    with pytest.raises(
        ValueError, match=r"channels, \['heat', 'bar'\], but n_channels=3"
    ):
        make_vae(n_channels=3).fit(TWO)
    assert fit(TWO, n_channels=2).channel_names_in_ == ["heat", "bar"]
    sensors = pd.MultiIndex.from_product([[f"ch{k}" for k in range(5)], range(3)])
    assert fit(pd.DataFrame(X[:, :15], columns=sensors)).n_channels_in_ == 5
    sensors = pd.MultiIndex.from_product([range(5), range(3)], names=["time", "at"])
    assert fit(pd.DataFrame(X[:, :15], columns=sensors)).n_channels_in_ == 3
    assert fit(TWO["heat"].T.T).n_channels_in_ == 1
    assert fit(TWO[["heat"]]).n_channels_in_ == 1  # the other level is one name


# Positions


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([1100.5, 1101.0, 1102.5], [1100.5, 1101.0, 1102.5]),
        (["1100.5", "1101", "1.5e3"], [1100.5, 1101.0, 1500.0]),
        (["t0", "t2", "t10"], [0, 2, 10]),
        (["wl_400.5 nm", "wl_401.5 nm"], [400.5, 401.5]),
        (["428 cm-1", "430cm-1", "432 cm^-1"], None),  # two ways to write it
        (["428 cm-1", "430 cm-1"], [428, 430]),
        (["428.5cm^-1", "430cm^-1"], [428.5, 430]),
        (["428 1/cm", "430 1/cm"], [428, 430]),
        (["00:00", "00:30", "23:45"], [0, 0.5, 23.75]),
        ([dt.time(1), dt.time(2, 30)], [1, 2.5]),
        (pd.timedelta_range("0h", periods=3, freq="15min"), [0, 0.25, 0.5]),
        (pd.date_range("2024-02-28", periods=3), [0, 1, 2]),
        (pd.period_range("2024-01", periods=3, freq="M"), [0, 31, 60]),
        (["ax_0", "ax_1", "ay_0"], None),
        (["left", "right"], None),
        (["Mon 00:00", "Mon 00:30"], None),
    ],
)
def test_positions_of_time_steps(names, expected):
    got = positions(list(names))
    if expected is None:
        assert got is None
    else:
        np.testing.assert_allclose(got, expected)


def test_positions_are_kept_of_fit():
    spectra = pd.DataFrame(SMOOTH, columns=np.linspace(1200, 1100, 24))
    np.testing.assert_array_equal(fit(spectra).timepoints_in_, spectra.columns)
    named = fit(spectra.rename(columns=str))
    np.testing.assert_array_equal(named.timepoints_in_, spectra.columns)
    polars = fit(pl.DataFrame(SMOOTH, schema=[f"t{k}" for k in range(24)]))
    np.testing.assert_array_equal(polars.timepoints_in_, range(24))
    assert fit(SMOOTH).timepoints_in_ is None
    assert fit(spectra, n_channels=2).timepoints_in_ is None
    vae = fit(TWO)
    np.testing.assert_array_equal(vae.timepoints_in_, range(24))


# Names out of order


@pytest.mark.parametrize(
    "names",
    [
        sorted(map(str, range(12))),
        [f"t{k}" for k in sorted(range(30), key=str)],
        sorted(pd.date_range("2024-01-25", periods=24).strftime("%d.%m.%Y")),
        [3, 1, 2, 5, 4],
        [f"{a}_{k}" for a in ("ax", "ay") for k in sorted(range(11), key=str)],
    ],
)
def test_names_out_of_order_are_found(names):
    assert out_of_order(names)
    frame = pd.DataFrame(rng.normal(size=(9, len(names))), columns=names)
    with pytest.warns(UserWarning, match="columns out of order, .* before .*"):
        make_vae().fit(frame)


@pytest.mark.parametrize(
    "names",
    [
        range(20),
        range(20, 0, -1),
        [f"t{k}" for k in range(12)],
        [f"{a}_{k}" for a in ("ax", "ay") for k in range(11)],
        [f"{a}_{k}" for k in range(11) for a in ("ax", "ay")],
        [f"{day} {h:02}:00" for day in ("Mon", "Tue") for h in range(24)],
        [f"{h % 24:02}:00" for h in range(12, 36)],  # from noon to noon
        ["12 AM", "1 AM", "2 AM", "11 AM", "12 PM", "1 PM"],
        pd.date_range("2024-01-25", periods=24).strftime("%d.%m.%Y"),
        pd.date_range("2023-12-25", periods=24).strftime("%m/%d/%Y"),
        pd.date_range("2023-12-25", periods=24).strftime("%Y-%m-%d %H:%M"),
        pd.date_range("2023-12-25", periods=24),
        ["left", "right", "top"],
        pd.date_range("2024-06-20", periods=24).strftime("%d.%m."),
        [f"Q{q} {year}" for year in (2000, 2001) for q in (1, 2, 3, 4)],
        pd.date_range("2024-10-26 22:00", periods=8, freq="30min", tz="Europe/Berlin"),
        pd.date_range("2024-10-27", periods=8, freq="30min", tz="Europe/Berlin").map(
            lambda moment: moment.isoformat(sep=" ")
        ),
        ["kWh", "kWh.1", "kWh.2"],
        ["0.0", "5e-05", "0.0001", "0.00015"],
    ],
)
def test_names_in_order_are_not_warned_of(names):
    assert out_of_order(list(names)) is None
    fit(pd.DataFrame(rng.normal(size=(9, len(names))), columns=names))


# Columns that are no time steps


@pytest.mark.parametrize(
    "times",
    [[f"t{k}" for k in range(24)], pd.date_range("2024", periods=24), [*range(24)]],
)
def test_a_column_that_is_no_signal_is_warned_of(times):
    names = [str(t) for t in times]
    frame = pd.DataFrame(SMOOTH, columns=names).assign(price=3.0 + rng.normal(size=40))
    assert not_numbered(frame.columns) == ["price"]
    told = r"columns \['price'\] among .*X\.drop\(columns=\['price'\]\)"
    with pytest.warns(UserWarning, match=told):
        make_vae().fit(frame)
    polars = pl.DataFrame({name: frame[name].to_numpy() for name in frame})
    with pytest.warns(UserWarning, match=told):
        make_vae().fit(polars)


# Time in rows, interleaved channels, padding, marks


def recording(n_channels=3):
    return pd.DataFrame(
        np.sin(np.arange(200)[:, None] / 20 + np.arange(n_channels) ** 2),
        columns=[f"/'force'/'{name}'" for name in "abcdefghijkl"[:n_channels]],
    )


def test_rows_that_are_time_steps_are_warned_of():
    for frame in (
        recording(12),
        recording()
        .rename_axis("timestamps")
        .set_axis(pd.Index(np.arange(200) / 100, name="timestamps")),
        recording().mask(np.arange(200)[:, None] >= [200, 180, 150]),
    ):
        with pytest.warns(UserWarning, match="as if each row were a time step.*X.T"):
            make_vae().fit(frame)
        fit(frame.T)
    with pytest.warns(UserWarning, match="as if each row were a time step"):
        make_vae().fit(SMOOTH.T)
    fit(SMOOTH[np.argsort(SMOOTH[:, 0])])
    fit(np.ones((40, 24)) + np.eye(40, 24))
    n_measured = 24 - np.arange(40)[:, None] // 4  # by length
    by_length = np.where(np.arange(24) < n_measured, SMOOTH, np.nan)
    fit(pd.DataFrame(by_length, columns=[*"abcdefghijklmnopqrstuvwx"]))


def test_dimensions_that_say_time_are_warned_of():
    class Labelled(np.ndarray):
        dims = "time", "sample"

    with pytest.warns(UserWarning, match="of the dimension 'time', as if each row"):
        make_vae().fit(rng.normal(size=(30, 6)).view(Labelled))


@pytest.mark.parametrize("n_channels", [None, 2])
def test_interleaved_channels_are_warned_of(n_channels):
    turns = np.stack([SMOOTH, PRESSURE], axis=2).reshape(40, -1)
    with pytest.warns(UserWarning, match="looks like 2 channels.*transpose"):
        make_vae(n_channels=n_channels).fit(turns)
    np.testing.assert_array_equal(
        turns.reshape(40, -1, 2).transpose(0, 2, 1)[:, 0], SMOOTH
    )
    fit(X, n_channels=2)
    fit(np.sin(np.arange(96) * np.pi / 2 + rng.normal(size=(40, 1))))  # of period 4


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int16])
def test_small_integers_do_not_overflow_where_smoothness_is_told(dtype):
    """Steps of uint8 below 0, and squares of int16, would come round."""
    span = 1 if dtype is bool else 0.4 * np.iinfo(dtype).max
    one, two = (
        (span * (1 + S / abs(S).max())).astype(dtype) for S in (SMOOTH, PRESSURE)
    )
    fit(np.hstack([one, two]), n_channels=2)
    fit(one)
    if dtype is not bool:
        turns = np.stack([one, two], axis=2).reshape(40, -1)
        with pytest.warns(UserWarning, match="looks like 2 channels"):
            make_vae(n_channels=2).fit(turns)
        with pytest.warns(UserWarning, match="as if each row were a time step"):
            make_vae().fit(one.T)


def test_signals_that_were_padded_with_zeros_are_warned_of():
    padded = SMOOTH.copy()
    for i in range(0, 40, 3):
        padded[i, 15 + i % 7 :] = 0
    with pytest.warns(UserWarning, match="end in zeros, 35% of those.*put NaN there"):
        make_vae().fit(padded)
    at_night = np.maximum(SMOOTH, 0)
    fit(at_night)
    fit(np.where(np.arange(24) < 20, SMOOTH, 0))  # all as long


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint16])
def test_an_end_of_an_integer_type_is_warned_of(dtype):
    ends = np.iinfo(dtype)
    mark = ends.max if ends.min == 0 else ends.min
    middle = (int(ends.max) + int(ends.min)) // 2
    whole = (middle + 0.3 * (int(ends.max) - middle) * SMOOTH).astype(dtype)
    fit(whole)
    whole[3, 5] = mark
    with pytest.warns(
        UserWarning, match=rf"others: {mark} \(an end of {dtype.__name__}, others"
    ):
        make_vae().fit(whole)
    clipped = (middle + 1.4 * (int(ends.max) - middle) * SMOOTH).clip(
        ends.min, ends.max
    )
    fit(clipped.astype(dtype))
