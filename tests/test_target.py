"""What y may be, that it helps, and what is said where it cannot."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from skvae import ConvVAETransformer
from skvae.inputs.target import check_target

NUMBERS = np.random.default_rng(0).standard_normal(60)
CLOSED = {"max_epochs": 0, "random_state": 0, "device": "cpu"}


def bursts(n_samples, seed=0, n_timepoints=60):
    """Noise with a short burst of a random place, and how fast the burst oscillates.

    The burst is little of the signal's variance, and at no point the same.
    """
    rng = np.random.default_rng(seed)
    speed = rng.uniform(0.5, 2.5, n_samples)
    start = rng.integers(0, n_timepoints - 20, n_samples)
    time = np.arange(n_timepoints) - start[:, None]
    phase = rng.uniform(0, 2 * np.pi, (n_samples, 1))
    burst = np.sin(speed[:, None] * time + phase) * ((time >= 0) & (time < 20))
    trend = rng.standard_normal((n_samples, 3)) @ np.cos(
        np.arange(n_timepoints) / 30 * np.arange(1, 4)[:, None]
    )
    noise = 0.1 * rng.standard_normal((n_samples, n_timepoints))
    return 2 * trend + burst + noise, speed


@pytest.fixture(scope="module")
def signals():
    """Signals and speeds of training, and of a test."""
    X, speed = bursts(500)
    return train_test_split(X, speed, test_size=200, random_state=0)


def latents(X, y, X_test, **params):
    vae = ConvVAETransformer(2, **CLOSED | params).fit(X, y)
    return vae.transform(X), vae.transform(X_test)


def regression_score(Z, y, Z_test, y_test):
    return KNeighborsRegressor(5).fit(Z, y).score(Z_test, y_test)


def class_score(Z, y, Z_test, y_test):
    return KNeighborsClassifier(5).fit(Z, y).score(Z_test, y_test)


def as_column(y):
    return pd.DataFrame({"y": y})


def words(y):
    return np.array(["fast" if value else "slow" for value in y])


# Labels of any kind


LABELS = {
    "int": lambda y: y,
    "int8": lambda y: y.astype(np.int8),
    "other ints": lambda y: 7 - 10 * y,
    "bool": lambda y: y.astype(bool),
    "str": words,
    "object": lambda y: words(y).astype(object),
    "float": lambda y: y.astype(float),
    "objects": lambda y: y.astype(object),
    "Series of objects": lambda y: pd.Series(y, dtype=object),
    "list": lambda y: y.tolist(),
    "list of str": lambda y: words(y).tolist(),
    "tuple": lambda y: tuple(y.tolist()),
    "tensor": torch.from_numpy,
    "Series": lambda y: pd.Series(y, index=np.arange(len(y))[::-1]),
    "Series of str": lambda y: pd.Series(words(y)),
    "Categorical": lambda y: pd.Series(words(y), dtype="category"),
    "Index": lambda y: pd.Index(words(y)),
    "bare Categorical": lambda y: pd.Categorical(words(y)),
    "string": lambda y: pd.Series(words(y), dtype="string"),
    "Int64": lambda y: pd.Series(y, dtype="Int64"),
    "boolean": lambda y: pd.Series(y.astype(bool), dtype="boolean"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_classes_of_any_kind_teach_the_same(signals, kind):
    X, _, speed, _ = signals
    X, y = X[:60], (speed[:60] > 1.5).astype(int)
    expected = ConvVAETransformer(2, label_weight=2.0, **CLOSED).fit(X, y)
    given = LABELS[kind](y)
    vae = ConvVAETransformer(2, label_weight=2.0, **CLOSED).fit(X, given)
    np.testing.assert_array_equal(vae.classes_, np.unique(np.asarray(given)))
    Z, Z_expected = vae.transform(X), expected.transform(X)
    signs = np.sign((Z * Z_expected).sum(axis=0))
    np.testing.assert_allclose(Z * signs, Z_expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("n_columns", [1, 2])
@pytest.mark.parametrize(
    "kind",
    [
        np.asarray,
        np.float32,
        lambda y: y.tolist(),
        torch.from_numpy,
        pd.DataFrame,
        lambda y: pd.DataFrame(y).convert_dtypes(),
    ],
    ids=["float64", "float32", "list", "tensor", "DataFrame", "nullable"],
)
def test_numbers_of_any_kind_are_standardised_by_column(n_columns, kind):
    rng = np.random.default_rng(0)
    y = 100.0 + 1e-3 * rng.standard_normal((50, n_columns))
    y = np.float32(y).astype(float)
    y[7, 0] = np.nan
    target = check_target(kind(y), 50)
    assert target.classes is None
    mean, std = np.nanmean(y, axis=0), np.nanstd(y, axis=0)
    np.testing.assert_allclose(target.values, (y - mean) / std, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(target.offset, mean)
    np.testing.assert_allclose(target.scale, std, rtol=1e-5)


@pytest.mark.parametrize("kind", [np.asarray, pd.Series, list, torch.from_numpy])
def test_numbers_may_come_as_one_dimension(kind):
    y = np.random.default_rng(0).standard_normal(30)
    y[3] = np.nan
    target = check_target(kind(y), 30)
    assert target.values.shape == (30, 1)
    np.testing.assert_array_equal(np.isnan(target.values[:, 0]), np.isnan(y))


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([1, -1, 2, 1], [1, 2]),
        (["a", "-1", "b", "a"], ["a", "b"]),
        (["a", -1, "b", "a"], ["a", "b"]),  # NumPy turns -1 into "-1"
        (np.array(["a", -1, "b", "a"], dtype=object), ["a", "b"]),
        ([2.0, -1.0, 5.0, 2.0], [2.0, 5.0]),
        (pd.Series(["a", "-1", "b", "a"]), ["a", "b"]),
        (pd.Series(["a", "-1", "b", "a"], dtype="category"), ["a", "b"]),
    ],
)
def test_minus_one_is_no_class(y, expected):
    target = check_target(y, 4)
    np.testing.assert_array_equal(target.classes, expected)
    one_hot = [[1, 0], [np.nan, np.nan], [0, 1], [1, 0]]
    np.testing.assert_array_equal(target.values, one_hot)


def test_whole_numbers_are_numbers_where_target_type_says_so(signals):
    X = signals[0][:100]
    y = np.round(100 * signals[2][:100]).astype(int)
    with pytest.warns(UserWarning, match=r"y has \d\d classes among 100.*'numbers'"):
        assert check_target(y, 100).classes is not None
    check_target(y, 100, target_type="labels")
    target = check_target(y, 100, target_type="numbers")
    np.testing.assert_allclose(target.values[:, 0], (y - y.mean()) / y.std(), rtol=1e-5)
    check_target(np.arange(100) // 2, 100)  # two of each
    check_target(np.arange(20), 20)
    check_target(np.arange(100).astype(str), 100)  # no numbers
    check_target(np.arange(100), 100, None, np.arange(100))
    vae = ConvVAETransformer(2, label_weight=1.0, target_type="numbers", **CLOSED)
    assert vae.fit(X, y).classes_ is None
    shifted = ConvVAETransformer(2, label_weight=1.0, **CLOSED).fit(X, y + 0.25)
    np.testing.assert_allclose(vae.transform(X), shifted.transform(X), atol=1e-4)
    vae.set_params(target_type="auto")
    with pytest.warns(UserWarning, match=r"target_type='numbers'") as record:
        vae.fit(X, y)
    assert "y has" in str(record[0].message)
    assert record[0].filename == __file__


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array([0, -1, 1, 0]), [-1, 0, 1]),
        ([0.0, -1.0, np.nan, 0.0], [-1, 0]),
        (np.array([0, -1, None, 0], dtype=object), [-1, 0]),
        (pd.Series([0, -1, None, 0], dtype="Int64"), [-1, 0]),
        (["a", "-1", None, "a"], ["-1", "a"]),
        (np.array(["a", "-1", np.nan, "a"], dtype=object), ["-1", "a"]),
        (pd.Series(["a", "-1", None, "a"], dtype="string"), ["-1", "a"]),
        (pd.Series(["a", "-1", None, "a"], dtype="category"), ["-1", "a"]),
    ],
)
def test_minus_one_is_a_class_among_labels(y, classes):
    """And what is None, NaN or pandas.NA is unlabelled."""
    target = check_target(y, 4, target_type="labels")
    assert target.classes.tolist() == classes
    expected = [[label == name for name in classes] for label in np.asarray(y, object)]
    if len(classes) == 2:
        expected[2] = [np.nan, np.nan]
    np.testing.assert_array_equal(target.values, np.array(expected, dtype=float))


@pytest.mark.parametrize("given", [np.asarray, pd.Series, list, torch.tensor])
def test_of_minus_one_zero_and_one_a_warning_says_what_minus_one_is(given, caplog):
    y = [0, -1, 1, -1, 0]
    caplog.set_level("INFO", "skvae")
    with pytest.warns(UserWarning, match="-1, in 2 samples, .*'labels'.*'numbers'"):
        assert check_target(given(y), 5).classes.tolist() == [0, 1]
    (record,) = caplog.records
    assert record.message.startswith("2 of 5 samples have the label -1, read as unl")
    check_target(given(y), 5, None, [0, 1])  # who names the classes knows
    caplog.clear()
    assert check_target(given(y), 5, target_type="labels").classes.tolist() == [
        -1,
        0,
        1,
    ]
    assert check_target(given(y), 5, target_type="numbers").classes is None
    assert not caplog.records


def test_labels_that_are_all_known_are_not_counted(caplog):
    caplog.set_level("INFO", "skvae")
    check_target([0, 1, 0, 1], 4)
    check_target([2, -1, 3, 2], 4)
    assert [record.args for record in caplog.records] == [(1, 4)]


def test_numbers_may_be_missing_in_any_container():
    for y in ([3, None, 5, 8], [3.0, np.nan, 5.0, 8.0], pd.array([3, None, 5, 8])):
        target = check_target(y, 4, target_type="numbers")
        np.testing.assert_allclose(target.offset, 16 / 3)
        np.testing.assert_array_equal(np.isnan(target.values.ravel()), [0, 1, 0, 0])


@pytest.mark.parametrize("as_frame", [False, True])
def test_a_constant_column_is_left_out_and_named(as_frame):
    y = np.column_stack([NUMBERS, np.full(60, 0.1), np.full(60, np.nan), NUMBERS**2])
    y[::2, 0], y[1::2, 1] = np.nan, np.nan
    if as_frame:
        y = pd.DataFrame(y, columns=["mass", "zero", "none", "age"])
    names = r"\['zero', 'none'\]" if as_frame else r"\[1, 2\]"
    with pytest.warns(UserWarning, match=rf"columns {names}. They are left out"):
        target = check_target(y, 60)
    assert target.n_dims == 2
    np.testing.assert_array_equal(target.scale == 0, [False, True, True, False])
    known = np.isfinite(target.values)
    np.testing.assert_array_equal(known.sum(axis=0), [30, 0, 0, 60])
    # So it stays in what goes on.
    again = check_target(np.ones((60, 4)) * NUMBERS[:, None], 60, target)
    np.testing.assert_array_equal(
        np.isfinite(again.values).all(axis=0), [True, False, False, True]
    )


def test_columns_each_known_of_one_half_are_both_told(signals):
    X, X_test, speed, speed_test = signals
    half = np.arange(len(X)) < len(X) / 2
    level = np.abs(X).mean(axis=1)
    y = np.column_stack([np.where(half, speed, np.nan), np.where(half, np.nan, level)])
    Z, Z_test = latents(X, y, X_test, label_weight=2.0)
    assert regression_score(Z, speed, Z_test, speed_test) > 0.6
    assert regression_score(Z, level, Z_test, np.abs(X_test).mean(axis=1)) > 0.6


@pytest.mark.parametrize("max_epochs", [0, 2])
def test_a_head_of_columns_known_here_and_there_is_finite(signals, max_epochs):
    X, _, speed, _ = signals
    rng = np.random.default_rng(0)
    y = speed[:, None] + rng.standard_normal((len(X), 4))
    y[rng.random(y.shape) < 0.4] = np.nan
    vae = ConvVAETransformer(2, label_weight=2.0, **CLOSED | {"max_epochs": max_epochs})
    assert np.isfinite(vae.fit(X, y).transform(X)).all()
    assert (vae.net_.module_.head is None) == (vae.latent_scale_.size * 1.25 > 4)
    if max_epochs:
        assert (vae.history_["train_label"] > 0).all()


# What looks like a mistake


@pytest.mark.parametrize("kind", [np.asarray, list, pd.Series, as_column])
@pytest.mark.parametrize("value", [-9999.0, -999.0, 1e6])
def test_values_far_from_all_others_are_warned_of(kind, value):
    y = np.where(np.arange(60) % 20 == 3, value, NUMBERS)
    message = rf"y has values far from all others: {value:.9g} \(column 0.*NaN"
    with pytest.warns(
        UserWarning, match=re.escape("1000000") if value > 0 else message
    ):
        check_target(kind(y), 60)
    whole = np.where(np.arange(60) % 20 == 3, value, np.arange(60) % 30).astype(int)
    with pytest.warns(UserWarning, match="y has values far from"):
        check_target(kind(whole), 60, target_type="numbers")


@pytest.mark.parametrize("value", [-9, -999, -9999, np.iinfo(np.int64).min])
@pytest.mark.parametrize("dtype", [int, float])
def test_a_class_far_below_all_others_is_warned_of(value, dtype):
    y = np.where(np.arange(60) % 20 == 3, value, np.arange(60) % 2).astype(dtype)
    with pytest.warns(UserWarning, match="y has the class -9.*put -1 in its place"):
        check_target(y, 60)
    check_target(np.where(y == value, -2, y), 60)
    check_target(-10 * y[y >= 0], (y >= 0).sum())


@pytest.mark.parametrize("target_type", ["auto", "labels", "numbers"])
def test_masked_y_is_refused(target_type):
    y = np.ma.masked_equal(np.arange(60) % 3, 2)
    with pytest.raises(ValueError, match=r"y has masked.*y\.astype.*y\.filled\(-1\)"):
        check_target(y, 60, target_type=target_type)
    assert check_target(np.ma.array(np.arange(60) % 3), 60).classes.tolist() == [
        0,
        1,
        2,
    ]


def test_masked_latents_are_refused(signals):
    X = signals[0][:40]
    vae = ConvVAETransformer(2, **CLOSED).fit(X)
    Z = np.ma.masked_greater(vae.transform(X), 0)
    with pytest.raises(ValueError, match="Z has masked values"):
        vae.inverse_transform(Z)


def test_minus_one_is_a_number_among_numbers():
    target = check_target([0.5, -1.0, 2.5], 3)
    assert target.classes is None
    assert np.isfinite(target.values).all()


# That they help


def test_numbers_to_predict_bring_signals_of_like_numbers_together(signals):
    X, X_test, y, y_test = signals
    plain = latents(X, None, X_test)
    taught = latents(X, y, X_test, label_weight=2.0)
    before = regression_score(plain[0], y, plain[1], y_test)
    after = regression_score(taught[0], y, taught[1], y_test)
    assert after > max(0.6, before + 0.2)


def test_two_columns_to_predict_are_both_told(signals):
    X, X_test, speed, speed_test = signals
    y, y_test = (
        np.column_stack([a, np.abs(x).mean(axis=1)])
        for a, x in ((speed, X), (speed_test, X_test))
    )
    Z, Z_test = latents(X, y * [1.0, 1e4], X_test, label_weight=2.0)
    for column in (0, 1):
        assert regression_score(Z, y[:, column], Z_test, y_test[:, column]) > 0.6


def test_label_weight_0_ignores_y(signals):
    X, X_test, y, _ = signals
    np.testing.assert_array_equal(latents(X, y, X_test)[1], latents(X, None, X_test)[1])
    junk = np.full(len(X), np.inf)
    np.testing.assert_array_equal(
        latents(X, junk, X_test)[1], latents(X, None, X_test)[1]
    )


@pytest.mark.parametrize("max_epochs", [0, 2])
def test_a_tenth_of_the_labels_is_better_than_none(signals, max_epochs):
    X, X_test, speed, speed_test = signals
    y, y_test = np.digitize(speed, [1.2, 1.8]), np.digitize(speed_test, [1.2, 1.8])
    rng = np.random.default_rng(0)
    few = np.where(rng.uniform(size=len(y)) < 0.1, y, -1)
    assert 20 < (few >= 0).sum() < 45
    params = {"max_epochs": max_epochs}
    scores = []
    for labels in (None, few, y):
        weight = 0.0 if labels is None else 2.0
        Z, Z_test = latents(X, labels, X_test, label_weight=weight, **params)
        scores.append(class_score(Z, y, Z_test, y_test))
    assert scores[0] + 0.08 < scores[1] <= scores[2] + 0.02


def test_a_tenth_of_the_numbers_is_better_than_none(signals):
    X, X_test, y, y_test = signals
    few = np.where(np.arange(len(y)) % 10 == 0, y, np.nan)
    plain = latents(X, None, X_test)
    taught = latents(X, few, X_test, label_weight=2.0)
    before = regression_score(plain[0], y, plain[1], y_test)
    assert regression_score(taught[0], y, taught[1], y_test) > before + 0.1


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
def test_shuffled_labels_do_not_help(signals):
    X, X_test, y, y_test = signals
    rng = np.random.default_rng(0)
    taught = latents(X, rng.permutation(y), X_test, label_weight=2.0)
    assert regression_score(taught[0], y, taught[1], y_test) < 0.5


def test_unlabelled_signals_count_in_all_but_the_target(signals):
    X, X_test, y, _ = signals
    few = np.where(np.arange(len(y)) % 10 == 0, y, np.nan)
    labelled = ~np.isnan(few)
    all_of_them = ConvVAETransformer(2, label_weight=2.0, **CLOSED).fit(X, few)
    alone = ConvVAETransformer(2, label_weight=2.0, **CLOSED)
    alone.fit(X[labelled], y[labelled])
    np.testing.assert_allclose(all_of_them.target_offset_, alone.target_offset_)
    np.testing.assert_allclose(all_of_them.target_scale_, alone.target_scale_)
    np.testing.assert_allclose(all_of_them.scaler_.offset_, X.mean(), rtol=1e-5)
    score = all_of_them.score(X_test)
    assert score > alone.score(X_test)


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
@pytest.mark.parametrize("seed", range(6))
def test_two_labels_are_enough(signals, seed):
    """They may be in one fold of the closed form's cross-validation."""
    X = signals[0][:40]
    for y in (np.full(40, -1), np.full(40, np.nan)):
        y[[3, 20]] = 2.0, 1.0 if y[0] == -1 else 1.5
        vae = ConvVAETransformer(
            2, label_weight=2.0, max_epochs=1, random_state=seed, device="cpu"
        )
        assert np.isfinite(vae.fit(X, y).transform(X)).all()


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
def test_labels_may_be_held_back_by_early_stopping(signals):
    X = signals[0][:40]
    for seed in range(6):
        y = np.full(40, -1)
        y[[3, 20]] = 1, 2
        vae = ConvVAETransformer(
            2,
            label_weight=2.0,
            max_epochs=1,
            early_stopping=True,
            validation_fraction=0.5,
            random_state=seed,
            device="cpu",
        )
        assert np.isfinite(vae.fit(X, y).transform(X)).all()


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
def test_partial_fit_may_begin_with_unlabelled_signals(signals):
    X = signals[0][:40]
    vae = ConvVAETransformer(2, label_weight=2.0, random_state=0, device="cpu")
    vae.partial_fit(X, np.full(40, -1), classes=[0, 1])
    vae.partial_fit(X, np.arange(40) % 2)
    assert vae.classes_.tolist() == [0, 1]
    assert np.isfinite(vae.transform(X)).all()


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
def test_partial_fit_keeps_the_units_of_the_first_numbers(signals):
    X, _, y, _ = signals
    vae = ConvVAETransformer(2, label_weight=2.0, random_state=0, device="cpu")
    vae.partial_fit(X[:100], y[:100])
    offset = vae.target_offset_.copy()
    vae.partial_fit(X[100:], 5 + y[100:])
    np.testing.assert_array_equal(vae.target_offset_, offset)
    np.testing.assert_allclose(offset, y[:100].mean())
    # Whole numbers are numbers still.
    vae.partial_fit(X[:100], np.round(y[:100]).astype(int))
    assert vae.classes_ is None


# What is said where y cannot be used


WRONG = {
    "None": (None, r"label_weight=2\.0 requires y.*is None\. Pass y, or set"),
    "one class": (np.zeros(60, int), r"1 class\(es\).*at least 2 for label_weight"),
    "one class, unlabelled": (np.repeat([3, -1], 30), r"1 class\(es\).*at least 2"),
    "no class": (np.full(60, -1), r"0 class\(es\).*at least 2"),
    "one word": (np.full(60, "a"), r"1 class\(es\).*at least 2"),
    "infinite": (
        np.where(np.arange(60) == 3, np.inf, NUMBERS),
        "values as large as inf.*finite numbers, .*or NaN",
    ),
    "minus infinite": (
        np.where(np.arange(60) == 3, -np.inf, NUMBERS)[:, None],
        "values as large as inf.*finite numbers, .*or NaN",
    ),
    "infinite in the second column": (
        np.column_stack([NUMBERS, np.where(np.arange(60) == 3, np.inf, NUMBERS)]),
        "values as large as inf.*finite numbers, .*or NaN",
    ),
    "infinite labels": (np.repeat([0.0, np.inf], 30), "large as inf"),
    "constant": (np.full(60, 0.5), r"constant.*at least 2 that differ"),
    "constant, of a rounded mean": (np.full(60, 0.1), r"constant.*at least 2 that"),
    "constant columns": (
        np.column_stack([np.full(60, np.nan), np.full(60, 0.5)]),
        r"constant.*at least 2 that differ",
    ),
    "one number": (
        np.where(np.arange(60) == 3, 0.5, np.nan),
        r"1 numbers besides NaN.*at least 2 that differ",
    ),
    "huge": (NUMBERS * 1e200, r"values as large as \de\+200.*at most 1e\+150, or NaN"),
    "tiny": (NUMBERS * 1e-305, "constant in each column: standard deviation"),
    "too few": (
        NUMBERS[:59],
        r"60 samples and y has shape \(59,\).*Expected one",
    ),
    "too many": (
        np.arange(61) % 2,
        r"X has 60 samples and y has shape \(61,\).*Expected one",
    ),
    "NaN among labels": (
        np.where(np.arange(60) == 3, np.nan, np.arange(60) % 2),
        r"missing labels.*Expected -1",
    ),
    "None among labels": (
        np.array([None, "a", "b"] * 20, dtype=object),
        r"missing labels.*Expected -1",
    ),
    "words in two columns": (np.full((60, 2), "a"), r"1d array.*shape \(60, 2\)"),
    "a cube": (np.ones((60, 2, 2)) * NUMBERS[:, None, None], r"\(60, 2, 2\)"),
    "all NaN": (np.full(60, np.nan), r"NaN"),
    "complex": (NUMBERS + 1j, "[Cc]omplex"),
}


@pytest.mark.filterwarnings("ignore:y cannot be predicted")  # it is noise
@pytest.mark.parametrize("was_fitted", [False, True])
@pytest.mark.parametrize("name", WRONG)
def test_an_unusable_y_is_refused_and_nothing_is_half_fitted(name, was_fitted):
    y, message = WRONG[name]
    X = np.random.default_rng(1).standard_normal((60, 20))
    vae = ConvVAETransformer(2, label_weight=2.0, **CLOSED)
    if was_fitted:
        vae.fit(X[:, :15], NUMBERS)
    before = vars(vae).copy()
    with pytest.raises((ValueError, TypeError), match=message):
        vae.fit(X, y)
    assert vars(vae).keys() == before.keys()
    assert all(vars(vae)[key] is value for key, value in before.items())


@pytest.mark.parametrize(
    ("y", "target_type", "message"),
    [
        (NUMBERS, "labels", r"y is continuous.*target_type='numbers'"),
        (np.repeat(["1.5", "2.5"], 30), "numbers", r"y has .1\.5., but .*numbers"),
        (np.repeat([-1, 1], 30), "auto", r"1 class\(es\).*target_type='labels'"),
        (np.repeat([None, "a"], 30), "labels", r"1 class\(es\) besides None or NaN"),
        (np.full(60, 7), "numbers", "constant.*at least 2 that differ"),
    ],
)
def test_a_y_of_another_type_is_refused(y, target_type, message):
    with pytest.raises(ValueError, match=message):
        check_target(y, 60, target_type=target_type)


@pytest.mark.parametrize("target_type", ["label", None, 1])
def test_an_unusable_target_type_is_refused(target_type):
    X = np.random.default_rng(1).standard_normal((60, 20))
    vae = ConvVAETransformer(2, label_weight=1.0, target_type=target_type, **CLOSED)
    with pytest.raises(ValueError, match=r"'target_type'.*must be a str among"):
        vae.fit(X, NUMBERS)


@pytest.mark.parametrize("weight", [-1.0, np.nan, "auto", None])
def test_an_unusable_label_weight_is_refused(weight):
    X = np.random.default_rng(1).standard_normal((60, 20))
    vae = ConvVAETransformer(2, label_weight=weight, **CLOSED)
    before = vars(vae).copy()
    with pytest.raises(ValueError, match=r"'label_weight'.*float in the range \[0"):
        vae.fit(X, NUMBERS)
    assert vars(vae) == before


@pytest.mark.filterwarnings("ignore:y cannot be predicted")  # it is noise
@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (NUMBERS, np.column_stack([NUMBERS] * 2), "y has 2 columns.*Expected 1"),
        (np.column_stack([NUMBERS] * 2), NUMBERS, "y has 1 columns.*Expected 2"),
        (NUMBERS, None, "requires y"),
        (NUMBERS, NUMBERS[:9], r"60 samples and y has shape \(9,\)"),
        (NUMBERS, np.where(NUMBERS > 1, np.inf, NUMBERS), "large as inf"),
        (NUMBERS, np.repeat(["a", "b"], 30), r"y has.*Expected.*numbers"),
        (np.arange(60) % 2, np.arange(60) % 3, r"labels \[2\].*Expected \[0, 1\]"),
        (np.arange(60) % 2, NUMBERS, r"Expected|[Cc]ontinuous"),
        (np.repeat(["a", "b"], 30), np.arange(60) % 2, r"Expected \['a', 'b'\]"),
    ],
)
def test_partial_fit_refuses_another_y_and_leaves_the_estimator(first, second, message):
    X = np.random.default_rng(1).standard_normal((60, 20))
    vae = ConvVAETransformer(2, label_weight=2.0, **CLOSED).fit(X, first)
    before, Z = vars(vae).copy(), vae.transform(X)
    with pytest.raises(ValueError, match=message):
        vae.partial_fit(X, second)
    assert vars(vae).keys() == before.keys()
    assert all(vars(vae)[key] is value for key, value in before.items())
    np.testing.assert_array_equal(vae.transform(X), Z)


def test_a_text_among_numbers_is_named():
    with pytest.raises(ValueError, match=r"y has '<4', but .* Expected numbers"):
        check_target(np.array([1.5, "<4"], object), 2, target_type="numbers")
    with pytest.raises(ValueError, match=r"y has \"b'1.5'\", but target_type"):
        check_target(np.array([b"1.5", b"2"]), 2, target_type="numbers")


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
def test_a_head_needs_its_labels_to_go_on():
    X = np.random.default_rng(0).standard_normal((30, 20))
    vae = ConvVAETransformer(2, label_weight=2.0, max_epochs=1, warm_start=True)
    vae.fit(X, np.arange(30) % 7)
    with pytest.raises(ValueError, match=r"label_weight is 0\.0, but was 2\.0"):
        vae.set_params(label_weight=0.0).fit(X)
    assert vae.set_params(label_weight=2.0).fit(X, np.arange(30) % 7) is vae


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ({"a": 1}, "y is of type dict. Expected an array"),
        ((label for label in "ab"), "y is of type generator"),
        (np.array([1j, 2j]), "y has dtype complex128. Expected labels or numbers"),
        (np.array(["2024", "2025"], "M8[Y]"), "y has dtype datetime64"),
    ],
)
def test_what_is_no_labels_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        check_target(y, 2)
