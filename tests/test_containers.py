"""Lists of any lengths, DataFrames and tensors: what goes in comes back."""

import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from sklearn.utils import validation

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles
from skvae.inputs import suspicions
from skvae.inputs.containers import refuse_long
from skvae.inputs.signals import check_signals
from skvae.inputs.target import check_target

X, _ = make_load_profiles(60, n_timepoints=48, random_state=0)
LENGTHS = np.random.default_rng(0).integers(20, 48, size=60)
LENGTHS[7] = 48
PADDED = np.where(np.arange(48) < LENGTHS[:, None], X, np.nan).astype(X.dtype)
RAGGED = [x[:n] for x, n in zip(X, LENGTHS, strict=True)]
GAPS = X.copy()
GAPS[::3, 5:9] = np.nan
NAMES = [f"t{k}" for k in range(48)]


def make_vae(**params):
    return ConvVAETransformer(
        4, **{"random_state": 0, "max_epochs": 1, "device": "cpu", **params}
    )


def objects(signals):
    result = np.empty(len(signals), object)
    result[:] = signals
    return result


def two_channels(signals):
    return [np.stack([x, -x]) for x in signals]


@pytest.fixture(scope="module")
def vae():
    return make_vae().fit(PADDED)


@pytest.fixture(scope="module")
def named():
    return make_vae().fit(pd.DataFrame(GAPS, columns=NAMES))


# Unequal lengths

FORMS = {
    "list": lambda signals: signals,
    "tuple": tuple,
    "objects": objects,
    "tensors": lambda signals: [torch.from_numpy(x) for x in signals],
    "lists": lambda signals: [x.tolist() for x in signals],
    "Series": lambda signals: [pd.Series(x) for x in signals],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_list_is_the_array_padded_with_nan(form, vae):
    signals = FORMS[form](RAGGED)
    fitted = make_vae().fit(signals)
    assert (fitted.n_timepoints_in_, fitted.n_dims_in_) == (48, 2)
    np.testing.assert_array_equal(fitted.transform(signals), vae.transform(PADDED))
    np.testing.assert_array_equal(
        fitted.score_samples(signals), vae.score_samples(X=PADDED)
    )
    assert fitted.score(signals) == vae.score(PADDED)
    for one, other in zip(
        fitted.posterior(signals), vae.posterior(PADDED), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    again = make_vae().partial_fit(signals).partial_fit(signals)
    expected = make_vae().partial_fit(PADDED).partial_fit(PADDED)
    np.testing.assert_array_equal(again.transform(X), expected.transform(X))


def test_a_list_of_several_channels_is_the_array_padded_with_nan():
    cube = np.stack([PADDED, -PADDED], axis=1)
    expected = make_vae().fit(cube)
    vae = make_vae().fit(two_channels(RAGGED))
    assert (vae.n_dims_in_, vae.n_channels_in_, vae.n_timepoints_in_) == (3, 2, 48)
    np.testing.assert_array_equal(
        vae.transform(two_channels(RAGGED)), expected.transform(cube)
    )
    rows = [x.ravel() for x in two_channels(RAGGED)]
    folded = make_vae(n_channels=2).fit(rows)
    assert (folded.n_dims_in_, folded.n_timepoints_in_) == (2, 48)
    for model in (vae, folded):
        np.testing.assert_array_equal(model.transform(rows), expected.transform(cube))


@pytest.mark.parametrize("length", [1, 30, 48])
def test_a_short_signal_alone_has_the_bits_it_has_among_others(vae, length):
    short = X[3, :length]
    for method in (vae.transform, vae.score_samples, vae.impute, vae.reconstruct):
        for some in ([short], [short, short]):
            np.testing.assert_array_equal(method(some)[0], method([*RAGGED, short])[-1])


@pytest.mark.parametrize("form", FORMS)
def test_reconstruct_and_impute_give_signals_of_the_same_lengths(vae, form):
    with_gap = [*RAGGED[:5], np.where(np.arange(40) == 3, np.nan, X[5, :40])]
    padded = PADDED[:6].copy()
    padded[5] = np.r_[with_gap[5], np.full(8, np.nan)]
    signals = FORMS[form](with_gap)
    for method in (vae.reconstruct, vae.impute):
        got = method(signals)
        for x, expected, signal in zip(got, method(padded), with_gap, strict=True):
            np.testing.assert_array_equal(x, expected[: len(signal)])
    assert vae.inverse_transform(vae.transform(signals)).shape == (6, 48)
    assert type(vae.reconstruct(signals)) is list
    imputed = vae.impute(signals)
    assert isinstance(imputed, np.ndarray if form == "objects" else list)
    assert isinstance(imputed[0], torch.Tensor if form == "tensors" else np.ndarray)


def test_signals_of_a_list_may_be_cubes_of_one():
    # A search takes these from mne's Epochs, which it indexes like a list.
    signals = two_channels(RAGGED)
    vae = make_vae().fit(signals)
    cubes = [x[None] for x in signals]
    np.testing.assert_array_equal(vae.transform(cubes), vae.transform(signals))
    assert [x.shape for x in vae.reconstruct(cubes)] == [x.shape for x in signals]
    assert [x.shape for x in vae.impute(cubes)] == [x.shape for x in cubes]


def test_lists_of_several_channels_keep_their_shapes():
    vae = make_vae().fit(two_channels(RAGGED))
    rows = [x.ravel() for x in two_channels(RAGGED)]
    for method in (vae.reconstruct, vae.impute):
        cubes = method(two_channels(RAGGED))
        assert [x.shape for x in cubes] == [(2, n) for n in LENGTHS]
        for x, row in zip(cubes, method(rows), strict=True):
            np.testing.assert_array_equal(x.ravel(), row)


REFUSED = {
    "too long": ([X[0], np.ones(60)], r"Sample 1 of X has 60 time steps.*48\. Cut it"),
    "channels": ([np.ones((2, 9)), np.ones((3, 9))], r"several kinds.*x\.T for x"),
    "dimensions": (
        [np.ones(9), np.ones((1, 9))],
        r"sample 0 has shape \(9,\), sample 1",
    ),
    "empty": ([X[0], []], r"Sample 1 of X, .* is empty .*leave it out"),
    "numbers": ([1.0, 2.0], r"Sample 0 of X, .* has 0 dimensions.*\[signal\]"),
    "cubes": ([np.ones((2, 2, 2))], r"Sample 0 of X, .* has 3 dimensions"),
    "text": ([X[0], ["a", "b"]], r"Sample 1 of X, of type list, is .*no numbers"),
    "words": (["one", "two"], r"Sample 0 of X, of type \w+, is not a signal"),
    "ragged channels": ([[[1, 2], [3]]], r"Sample 0 of X.*channels of unequal lengths"),
    "times": ([np.ones(4, "M8[s]"), X[0]], r"Sample 0 of X.* is not a signal"),
    "nothing": ([], r"empty list"),
    "masked": ([np.ma.masked_equal([1, 2], 2)], r"masked.*NaN"),
    "infinity": ([X[0], [1.0, np.inf]], r"infinity, first in sample 1, .*time step 1"),
    "no value": ([X[0], [np.nan]], r"1 samples that are all NaN.*sample 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_lists_that_are_refused(vae, case):
    signals, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as error:
        vae.transform(signals)
    assert not re.search(
        r"inhomogeneous|sklearn|Boosting|numpy\.array", str(error.value)
    )
    if case != "too long":
        with pytest.raises(ValueError, match=message):
            make_vae().fit(signals)


def test_channels_after_each_other_divide_a_signal():
    with pytest.raises(ValueError, match=r"Sample 1 of X has 7 values.*by 2 channels"):
        make_vae(n_channels=2).fit([np.ones(8), np.ones(7)])


def test_arrays_of_another_width_stay_errors_and_shorter_ones_may_be_lists(vae):
    message = (
        r"is expecting 48 features as input\. Put NaN where time steps are missing"
    )
    for other in (X[:, :40], np.ones((2, 60)), pd.DataFrame(X[:, :40])):
        with pytest.raises(ValueError, match=message):
            vae.transform(other)
    padded = np.pad(X[:, :40], [(0, 0), (0, 8)], constant_values=np.nan)
    np.testing.assert_array_equal(vae.transform(list(X[:, :40])), vae.transform(padded))


# scikit-learn's, of the arrays that the frames are compared with.
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_other_columns_are_reindexed(named):
    frame = pd.DataFrame(GAPS, columns=NAMES)
    others = [frame.iloc[:, 8:], frame.iloc[:, ::-1], frame.assign(more=1.0)]
    for other in others:
        with pytest.raises(ValueError, match="feature names") as error:
            named.transform(other)
        line = re.search(r"pass (X\.reindex\(.*?\)),", str(error.value)).group(1)
        again = eval(line, {"X": other, "vae": named})
        expected = frame.copy()
        expected.loc[:, ~frame.columns.isin(other.columns)] = np.nan
        np.testing.assert_array_equal(named.transform(again), named.transform(expected))
    with pytest.raises(ValueError, match="end earlier, pass a list"):
        named.transform(GAPS[:, :40])


def test_latents_and_targets_that_are_refused(vae):
    for Z, message in [
        ([[1.0, 2.0], [3.0]], "inhomogeneous shape"),
        ([[1.0, np.nan, 0.0, 0.0]], "Input Z contains NaN"),
        ([[1.0, 0.0, 0.0, np.inf]], "Input Z contains infinity"),
    ]:
        with pytest.raises(ValueError, match=message):
            vae.inverse_transform(Z)
    with pytest.raises(ValueError, match="inhomogeneous shape"):
        check_target([[1.0, 2.0], [3.0]], 2)


# What is missing in other containers


def filled_with(missing):
    values = GAPS[:6].astype(object)
    values[np.isnan(GAPS[:6])] = missing
    return values


MISSING = {
    "None": filled_with(None),
    "pandas.NA": filled_with(pd.NA),
    "Float64": pd.DataFrame(GAPS[:6]).astype("Float64"),
    "objects": pd.DataFrame(filled_with(pd.NA)),
    "polars": pl.DataFrame(filled_with(None).astype(float).tolist(), orient="row"),
    "nulls": pl.DataFrame(filled_with(None).tolist(), orient="row"),
    "tensor": torch.from_numpy(GAPS[:6]),
    "lists": filled_with(None).tolist(),
}


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("case", MISSING)
def test_other_ways_to_write_a_missing_value(vae, case):
    np.testing.assert_array_equal(vae.transform(MISSING[case]), vae.transform(GAPS[:6]))
    imputed = vae.impute(MISSING[case])
    assert type(imputed) is type(MISSING[case])
    values = np.array([np.asarray(x) for x in imputed]) if case == "lists" else imputed
    values = np.asarray(values).astype(np.float32)
    np.testing.assert_array_equal(values, vae.impute(GAPS[:6]))


# Of 2**25 + 1, which float32 would round.
@pytest.mark.filterwarnings("ignore:X has the value")
def test_impute_of_a_dataframe_touches_its_gaps_alone(named):
    frame = pd.DataFrame(GAPS[:6].astype(float), index=list("abcdef"), columns=NAMES)
    frame = frame.astype({"t0": "float32", "t1": "Float64"})
    frame["t2"], frame["t5"] = 2**25 + 1, pd.array([None, 1, 2, 3, 4, 5], "Int64")
    frame.columns.name, frame.index.name = "step", "meter"
    before = frame.copy()
    imputed = named.impute(frame)
    pd.testing.assert_frame_equal(frame, before)
    gaps = frame.isna().any()
    assert imputed.notna().all(axis=None)
    assert imputed["t5"].dtype == "Float64"
    pd.testing.assert_frame_equal(imputed.loc[:, ~gaps], frame.loc[:, ~gaps])
    pd.testing.assert_frame_equal(
        imputed.where(frame.notna()), frame.astype({"t5": "Float64"})
    )


def test_names_of_polars_that_scikit_learn_does_not_read_are_warned_of(monkeypatch):
    """As scikit-learn before 1.9 does not read those of polars 2."""
    monkeypatch.setattr(validation, "_get_feature_names", lambda X: None)
    frame = pl.DataFrame(GAPS[:6].astype(float), schema=NAMES, orient="row")
    with pytest.warns(UserWarning, match=r"does not read the column names.*to_pandas"):
        check_signals(ConvVAETransformer(), frame, reset=True)
    check_signals(ConvVAETransformer(), pd.DataFrame(GAPS[:6]), reset=True)


# Of 2**25 + 1, which float32 would round.
@pytest.mark.filterwarnings("ignore:X has the value")
def test_impute_of_a_polars_frame_touches_its_gaps_alone(named):
    frame = pl.DataFrame(GAPS[:6].astype(float), schema=NAMES, orient="row")
    frame = frame.with_columns(t0=frame["t0"].cast(pl.Float32), t1=pl.lit(2**25 + 1))
    frame = frame.with_columns(t2=pl.Series([None, 1, 2, 3, 4, 5]))
    imputed = named.impute(frame)
    assert imputed.columns == frame.columns
    assert imputed["t2"].dtype == pl.Float64
    whole = [
        name for name in NAMES if not frame[name].cast(float).fill_nan(None).has_nulls()
    ]
    assert imputed[whole].equals(frame[whole])
    assert np.isfinite(imputed.to_numpy()).all()
    known = frame.to_numpy()
    np.testing.assert_array_equal(
        np.where(np.isnan(known), np.nan, imputed.to_numpy()), known
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_impute_keeps_dtype_and_layout(vae, dtype):
    gaps = GAPS.astype(dtype)
    cube = vae.impute(gaps[:, None])
    assert (cube.shape, cube.dtype) == ((60, 1, 48), dtype)
    np.testing.assert_array_equal(cube[:, 0], vae.impute(gaps))
    tensor = vae.impute(torch.from_numpy(gaps))
    np.testing.assert_array_equal(tensor.numpy(), cube[:, 0])
    assert vae.impute(np.ones((1, 48), int)).dtype == int


# DataFrames back


# scikit-learn's, of the arrays that the frames are compared with.
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_names_and_index_come_back_where_set_output_asks(named):
    frame = pd.DataFrame(GAPS, columns=NAMES, index=pd.RangeIndex(100, 160))
    arrays = {
        "inverse_transform": named.inverse_transform(named.transform(frame)),
        "reconstruct": named.reconstruct(frame),
        "impute": named.impute(frame).to_numpy(),
    }
    assert type(arrays["reconstruct"]) is np.ndarray
    for container in ("pandas", "polars"):
        with sklearn.config_context(transform_output=container):
            frames = {
                "inverse_transform": named.inverse_transform(named.transform(frame)),
                "reconstruct": named.reconstruct(frame),
                "impute": named.impute(GAPS)
                if container == "polars"
                else named.impute(frame),
            }
        for name, got in frames.items():
            assert type(got).__module__.startswith(container), name
            assert list(got.columns) == NAMES
            np.testing.assert_array_equal(got.to_numpy(), arrays[name])
            if container == "pandas":
                assert got.index.equals(frame.index)


def test_columns_that_are_no_strings_come_back(named):
    days = pd.date_range("2024-01-01", periods=60)
    clock = pd.timedelta_range("0h", periods=48, freq="30min", name="clock")
    frame = pd.DataFrame(GAPS, index=days, columns=clock)
    vae = make_vae().fit(frame).set_output(transform="pandas")
    for got in (vae.reconstruct(frame), vae.impute(frame)):
        assert got.columns.equals(frame.columns)
        assert got.index.equals(days)
    whole = vae.inverse_transform(vae.transform(frame))
    assert whole.index.equals(days)
    assert whole.columns.equals(clock / pd.Timedelta("1h"))
    np.testing.assert_array_equal(vae.transform(whole), vae.transform(whole.to_numpy()))
    assert isinstance(vae.impute(GAPS), pd.DataFrame)
    assert isinstance(vae.impute(torch.from_numpy(GAPS)), pd.DataFrame)
    assert vae.set_output(transform="polars").reconstruct(frame).columns[0] == str(
        clock[0]
    )
    assert isinstance(vae.impute(frame), pd.DataFrame)


@pytest.mark.parametrize("wavelengths", [range(400, 448), np.arange(400, 424, 0.5)])
def test_wavelengths_that_are_numbers_come_back_with_signals(wavelengths):
    frame = pd.DataFrame(GAPS, columns=wavelengths)
    vae = make_vae().set_output(transform="pandas").fit(frame)
    latents = vae.transform(frame)
    signals = vae.inverse_transform(latents)
    assert signals.columns.equals(frame.columns)
    vae.transform(signals)  # without a warning that the time steps are others
    signals = vae.set_output(transform="polars").inverse_transform(latents)
    assert signals.columns == list(map(str, frame.columns))
    numbered = make_vae().set_output(transform="pandas").fit(pd.DataFrame(GAPS))
    assert numbered.inverse_transform(latents).columns.equals(pd.RangeIndex(48))


def test_three_dimensions_and_lists_stay_what_they_are():
    vae = make_vae().fit(GAPS.reshape(60, 2, 24)).set_output(transform="pandas")
    cube = GAPS.reshape(60, 2, 24)
    assert vae.reconstruct(cube).shape == vae.impute(cube).shape == cube.shape
    vae = make_vae().fit(RAGGED).set_output(transform="pandas")
    assert isinstance(vae.reconstruct(RAGGED), list)
    assert isinstance(vae.impute(RAGGED), list)
    assert isinstance(vae.inverse_transform(vae.transform(RAGGED)), pd.DataFrame)


# Long DataFrames

TIMES = pd.date_range("2024-01-01", periods=480, freq="30min")  # ten days
DAYS = pd.date_range("2024-01-01", periods=10)
VALUES = np.arange(480.0)
METERS = pd.DataFrame(
    {
        "meter": np.repeat(["a", "b", "c"], 160),
        "time": np.tile(TIMES[:160], 3),
        "kWh": VALUES,
    }
)
LEVELS = METERS.set_index(["meter", "time"])
ALONE = pd.DataFrame({"time": TIMES, "kWh": VALUES})
BY_DAY = VALUES.reshape(10, 48)
LONG = {
    "levels": LEVELS,
    "levels without names": LEVELS.rename_axis([None, None]),
    "levels, numbers": pd.DataFrame(
        {"kWh": VALUES}, index=pd.MultiIndex.from_product([range(3), range(160)])
    ),
    "date and clock": pd.DataFrame(
        {"kWh": VALUES}, index=[TIMES.normalize(), TIMES.time]
    ),
    "column": METERS,
    "column, two values": METERS.assign(heat=-VALUES),
    "column alone": ALONE,
    "index, meters": METERS.set_index("time"),
    "index alone": pd.DataFrame({"kWh": VALUES}, index=TIMES),
    "index, time zone": pd.DataFrame(
        {"kWh": VALUES}, index=TIMES.tz_localize("Asia/Tokyo")
    ),
    "column of dates": pd.DataFrame({"day": DAYS.date, "kWh": VALUES[:10]}),
    "durations": METERS.assign(time=METERS["time"] - TIMES[0]),
    "periods": ALONE.assign(time=TIMES.to_period("30min")),
    "numbered meters": METERS.assign(meter=np.repeat([1, 2, 3], 160)),
    "start and end": ALONE.assign(end=TIMES + TIMES.freq),
    "times as texts": METERS.astype({"time": str}),
    "a name twice": METERS.set_axis(["meter", "time", "time"], axis=1),
    "names that are no text": pd.DataFrame({DAYS[0]: VALUES}, index=TIMES),
    "dates alone": pd.DataFrame({"kWh": VALUES[:10]}, index=DAYS.date),
    "durations alone": pd.DataFrame({"kWh": VALUES}, index=TIMES - TIMES[0]),
    "no numbers": METERS[["meter", "time"]],
    "no rows": METERS[:0],
    "polars": pl.DataFrame({"time": list(TIMES), "kWh": VALUES}),
    "polars, meters": pl.DataFrame({name: list(METERS[name]) for name in METERS}),
    "polars, texts": pl.DataFrame(METERS.astype({"time": str}).to_dict("list")),
}


@pytest.mark.parametrize("case", LONG)
def test_a_long_frame_is_refused(case, vae):
    for call in (make_vae().fit, vae.transform):
        with pytest.raises(ValueError, match=r"is a long DataFrame.*Pivot X"):
            call(LONG[case])


@pytest.mark.parametrize(
    ("frame", "shape"),
    [
        (METERS, (12, 48)),  # days of meters
        (LEVELS, (3, 160)),
        (LEVELS.swaplevel(), (3, 160)),
        (LONG["date and clock"], (10, 48)),
        (LONG["levels, numbers"], (3, 160)),
    ],
)
def test_the_pivot_of_the_message_works(frame, shape):
    with pytest.raises(ValueError, match="for example") as error:
        make_vae().fit(frame)
    wide = eval(re.search(r"\n    X = (.*)", str(error.value))[1], {"X": frame})
    assert wide.shape == shape
    signals = check_signals(ConvVAETransformer(), wide, reset=True)
    np.testing.assert_array_equal(signals[~np.isnan(signals)], VALUES)


WIDE = {
    "columns are times": pd.DataFrame(BY_DAY, columns=TIMES[:48]),
    "rows are days": pd.DataFrame(BY_DAY, index=DAYS),
    "rows are weeks of days": pd.DataFrame(BY_DAY[:, :7], index=DAYS),
    "rows are weeks of meters": pd.DataFrame(
        BY_DAY, index=pd.MultiIndex.from_product([["a", "b"], DAYS[:5]])
    ),
    "columns have levels": pd.DataFrame(
        BY_DAY, columns=pd.MultiIndex.from_product([["kWh", "heat"], TIMES[:24]])
    ),
    "rows are days, columns named": pd.DataFrame(np.resize(VALUES, (60, 48)))
    .set_axis(pd.date_range("2024-01-01", periods=60))
    .rename_axis(columns="clock"),
    "rows are dates": pd.DataFrame(
        np.resize(VALUES, (90, 7)),
        pd.date_range(DAYS[0], periods=90).date,
        [*"abcdefg"],
    ),
    "rows are hours of minutes": pd.DataFrame(
        np.resize(VALUES, (90, 60)), pd.date_range("2024-01-01", periods=90, freq="h")
    ),
    "rows are hours, columns times": pd.DataFrame(
        np.resize(VALUES, (90, 60)),
        pd.date_range("2024-01-01", periods=90, freq="h"),
        pd.timedelta_range("0min", periods=60, freq="min"),
    ),
    "few columns": pd.DataFrame(BY_DAY[:, :3]),
    "names": pd.DataFrame(BY_DAY, columns=NAMES, index=list("abcdefghij")),
    "polars": pl.DataFrame(BY_DAY),
}


@pytest.mark.parametrize("case", WIDE)
def test_wide_frames_are_taken(case):
    signals = check_signals(ConvVAETransformer(), WIDE[case], reset=True)
    expected = WIDE[case].to_numpy()
    np.testing.assert_array_equal(signals.reshape(expected.shape), expected)
    assert signals.shape[1] == (2 if case == "columns have levels" else 1)


def test_a_column_of_times_beside_a_wide_frame_is_refused():
    wide = WIDE["names"].assign(day=DAYS)
    passed = DAYS - DAYS[0]
    objects = pd.Series(passed, wide.index, dtype=object)
    others = [wide.assign(day=x) for x in (DAYS.date, passed, objects)]
    for frame in (wide, *others, pl.DataFrame({n: list(wide[n]) for n in wide})):
        with pytest.raises(ValueError, match="column 'day' of dates or times"):
            check_signals(ConvVAETransformer(), frame, reset=True)


BY_TIME = METERS.pivot(index="time", columns="meter", values="kWh")
TEN = pd.DataFrame(np.resize(VALUES, (160, 10)), TIMES[:160], [*"abcdefghij"])


@pytest.mark.parametrize(
    "frame",
    [
        TEN,
        TEN.set_axis(TEN.index.to_period("30min")),
        TEN.set_axis(TEN.index - TIMES[0]),
        TEN.set_axis(TEN.index[::-1]),
        TEN.set_axis(pd.RangeIndex(10, name="meter"), axis=1),
        pd.concat({"kWh": TEN}, axis=1, names=[None, "meter"]),
    ],
    ids=["times", "periods", "durations", "backwards", "numbered", "levels"],
)
def test_rows_that_look_like_time_steps_are_warned_of_in_fit_alone(frame):
    with pytest.warns(UserWarning, match=r"160 rows.*0:30:00 apart.*pass X\.T"):
        vae = make_vae(max_epochs=0).fit(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae.transform(frame)
        make_vae(max_epochs=0).fit(frame.T)


def test_windows_that_begin_at_the_same_times_are_signals():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_vae(max_epochs=0).fit(TEN.set_axis(TIMES[:80].repeat(2)))


def test_few_meters_in_columns_are_refused():
    with pytest.raises(ValueError, match="is a long DataFrame"):
        make_vae().fit(BY_TIME)


def test_text_among_columns_is_named():
    wide = WIDE["names"].assign(meter="a")
    for frame in (wide, pl.DataFrame(wide.to_dict("list"))):
        refuse_long(frame)  # it is not long
        with pytest.raises(ValueError, match=r"text, first 'a' in column 'meter'"):
            make_vae().fit(frame)


def test_numbers_with_decimal_commas_are_told_how_to_read():
    with pytest.raises(ValueError, match=r"text, first '1168,0'.*decimal=','"):
        make_vae().fit(pd.DataFrame([["1168,0", "2,5"]] * 5))


# Time first


@pytest.mark.parametrize("shape", [(1001, 1), (1001, 5), (1001, 2, 2)])
def test_many_signals_of_few_values_are_warned_of(shape):
    """As of df[["kWh"]]."""
    rng = np.random.default_rng(0)
    vae = make_vae().set_params(max_epochs=0)
    with pytest.warns(UserWarning, match="1001 signals of . values, .* a read") as told:
        vae.fit(rng.normal(size=shape))
    assert told[0].filename == __file__
    for other in (shape[0] - 1, *shape[1:]), (1001, 2, 3):
        vae.fit(rng.normal(size=other))


def test_more_channels_than_time_steps_are_warned_of_in_fit_alone():
    cube = X[:, :40].reshape(60, 10, 4)
    with pytest.warns(UserWarning, match=r"10 channels of 4 .*X\.transpose\(0, 2, 1\)"):
        vae = make_vae().fit(cube)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae.transform(cube)
        make_vae().fit(cube.transpose(0, 2, 1))
        make_vae().fit(X[:, :16].reshape(60, 4, 4))


# What marks the missing


@pytest.mark.parametrize(
    ("sentinel", "times"), [(-999, 1), (-999, 2), (1e9, 50), (-1e30, 3)]
)
def test_values_far_from_all_others_are_warned_of_in_fit(sentinel, times):
    cube = X[:, :45].reshape(60, 3, 15).astype(float)
    cube[::3, :, 4] = np.nan
    cube[-times:, 1, 3] = sentinel
    cube[-times:, 2, 3] = 2 * sentinel
    with pytest.warns(UserWarning, match="far from all others.*NaN") as told:
        make_vae(max_epochs=0).fit(cube)
    assert told[0].filename == __file__
    (message,) = (str(warning.message) for warning in told)
    assert f"{sentinel:g} (channel 1, others " in message
    assert f"{2 * sentinel:g} (channel 2, others " in message
    assert "channel 0" not in message


def test_signals_that_are_not_scaled_have_no_units_to_compare():
    x = X[:, :40].copy()
    vae = make_vae(max_epochs=0, scale=None).fit(x)
    vae.transform(x + 1000)


def test_of_many_signals_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(suspicions, "LOOKED_AT", X.size // 2)
    x = X.copy()
    x[1::2, 0] = -999
    assert suspicions.sentinels(x[:, None]) == ""
    x[2, 0] = -999
    assert "-999" in suspicions.sentinels(x[:, None])


@pytest.mark.parametrize("kind", ["near", "of two values", "gaps", "steps"])
def test_what_may_be_measured_is_not_warned_of(kind):
    x = X[:, :40].copy()
    if kind == "near":
        x[:5, 0] = x.max() + 4 * np.ptp(x)
    elif kind == "of two values":
        x = 1000.0 * (x > 0)
    elif kind == "gaps":
        x[:5, :9] = np.nan
    else:
        x = np.round(x).astype(int)
    make_vae(max_epochs=0).fit(x)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("scale", ["standard", "minmax"])
@pytest.mark.parametrize(
    "method", ["transform", "impute", "score_samples", "posterior", "partial_fit"]
)
def test_values_far_off_the_fitted_signals_are_warned_of(scale, method, sign):
    cube = X[:, :40].reshape(60, 2, 20)
    vae = make_vae(max_epochs=0, scale=scale).fit(cube)
    unit = np.std(cube[:, 1]) if scale == "standard" else np.ptp(cube[:, 1])
    offset = np.mean(cube[:, 1]) if scale == "standard" else cube[:, 1].min()
    far = cube.copy()
    far[0, 0] = np.nan
    far[5, 1, 7] = offset + sign * 99 * unit
    getattr(vae, method)(far)
    far[5, 1, 7] = offset + sign * 101 * unit
    told = f"value {far[5, 1, 7]:.9g} in channel 1, far from .*NaN.*other units"
    with pytest.warns(UserWarning, match=told) as caught:
        getattr(vae, method)(far)
    assert caught[0].filename == __file__
    far[:, 0] = np.nan
    with pytest.warns(UserWarning, match=told):
        getattr(vae, method)(far)


def test_one_signal_alone_is_told_from_shorter_ones():
    vae = make_vae(max_epochs=0).fit(X[:, :40].reshape(60, 4, 10))
    with pytest.raises(ValueError, match=r"Pass one signal as X\[numpy.newaxis\]"):
        vae.transform(X[0, :40].reshape(4, 10))
    with pytest.raises(ValueError, match="Put NaN where time steps are missing"):
        vae.transform(X[:3, :30])
