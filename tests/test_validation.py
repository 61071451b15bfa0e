"""What X may be, what is refused, and what the refusal says."""

import numpy as np
import pandas as pd
import pytest

from skvae import ConvVAETransformer
from skvae.inputs.signals import check_signals, unfold
from skvae.inputs.target import check_target


def check(X, n_channels=None, **kwargs):
    estimator = ConvVAETransformer(n_channels=n_channels)
    return estimator, check_signals(estimator, X, reset=True, **kwargs)


def test_2d_and_3d_are_the_same_signals():
    X = np.arange(24.0).reshape(2, 12)
    _, one = check(X)
    folded, three = check(X, n_channels=3)
    given, cube = check(X.reshape(2, 3, 4))
    assert one.shape == (2, 1, 12)
    np.testing.assert_array_equal(three, cube)
    assert folded.n_features_in_ == given.n_features_in_ == 12
    assert (given.n_channels_in_, given.n_timepoints_in_) == (3, 4)
    assert unfold(folded, three).shape == (2, 12)
    assert unfold(given, cube).shape == (2, 3, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, bool])
def test_arrays_are_not_copied(dtype):
    X = np.ones((3, 2, 5), dtype)
    X.flags.writeable = False
    assert np.shares_memory(check(X)[1], X)
    assert np.shares_memory(check(X.reshape(3, 10))[1], X)


def test_names_of_a_dataframe_are_kept_and_those_of_an_older_fit_are_not():
    estimator = ConvVAETransformer()
    check_signals(estimator, pd.DataFrame(np.eye(3), columns=list("abc")), reset=True)
    assert list(estimator.feature_names_in_) == ["a", "b", "c"]
    check_signals(estimator, np.ones((2, 1, 3)), reset=True)
    assert not hasattr(estimator, "feature_names_in_")


@pytest.mark.parametrize(
    ("X", "n_channels", "message"),
    [
        (np.ones((2, 2, 2, 2)), None, r"4D array instead, .*Reshape"),
        (np.ones(5), None, r"Reshape"),
        (np.float64(3.0), None, r"Expected 2D array, got scalar"),
        (np.ones((0, 5)), None, r"0 sample\(s\)"),
        (np.ones((5, 0)), None, r"0 feature\(s\)"),
        (np.ones((2, 3, 0)), None, r"0 channels or timepoints.*\(2, 3, 0\)"),
        (np.array([[1.0, 2.0], [np.nan, np.nan]]), None, r"1 samples.*sample 1\."),
        (np.array([[[1.0, np.inf]]]), None, r"contains infinity"),
        (np.ones((2, 3)) * 1j, None, r"Complex data not supported"),
        ([["a", "b"], ["c", "d"]], None, r"Sample 0 of X.*no numbers"),
        (np.array([["1", "2"]]), None, r"has text, first '1' in sample 0"),
        (np.array([[1.0], ["a"]], object), None, r"has text, first 'a' in sample 1"),
        (np.ones((2, 2), "M8[s]"), None, r"dtype datetime64.*real numbers"),
        (np.ma.masked_equal([[1.0, 2.0]], 2.0), None, r"masked.*NaN"),
        (np.ones((2, 10)), 3, r"n_channels=3 does not divide the 10 columns"),
        (np.ones((2, 4, 5)), 3, r"X has 4 channels.*n_channels=3"),
    ],
)
def test_what_is_refused(X, n_channels, message):
    with pytest.raises(ValueError, match=message):
        check(X, n_channels)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 2, 5), (2, 1, 12)])
def test_other_shapes_than_the_fitted_are_refused(shape):
    estimator, _ = check(np.ones((2, 3, 5)))
    with pytest.raises(ValueError, match=r"fitted on \(3, 5\)"):
        check_signals(estimator, np.ones(shape), reset=False)


@pytest.mark.parametrize(
    "name", ["max_epochs", "callbacks", "lr", "criterion__beta", "module__dropout"]
)
def test_parameters_are_not_set_twice(waves, name):
    vae = ConvVAETransformer(2, net_params={name: 1})
    with pytest.raises(ValueError, match=f"net_params has '{name}', which is a param"):
        vae.fit(waves)
    assert not hasattr(vae, "net_")


WRONG_NET_PARAMS = {
    "module__correct_mean": ["yes", 2],
    "module__init": ["zeros", None],
    "module__hidden_dropout": [-0.1, 1.0, np.nan, "0.5"],
    "module__output_activation": ["tanh", True],
    "module__output_kernel_size": [0, -1, 2.5, "8"],
    "iterator_train__shuffle": ["no"],
    "lr_schedule": ["step", 0.5],
    "criterion__free_bits": [-1, np.nan, np.inf, "1", None],
    "kl_warmup": [-1, 1.5, np.nan, "0.5", None],
    "n_threads": [0, -1, 1.5, "two"],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG_NET_PARAMS.items() for value in values],
)
def test_a_wrong_value_in_net_params_is_refused_in_words(name, value):
    estimator = ConvVAETransformer(net_params={name: value})
    message = rf"'{name}' parameter of net_params must be .*\. Got {value!r} instead"
    with pytest.raises(ValueError, match=message):
        estimator.fit(np.eye(4))
    assert vars(estimator) == vars(ConvVAETransformer(net_params={name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("module__hidden_dropout", 0),
        ("module__output_kernel_size", np.int64(3)),
        ("module__output_kernel_size", None),
        ("module__output_activation", None),
        ("criterion__free_bits", np.float32(0.5)),
        ("kl_warmup", 1),
        ("n_threads", 2),
    ],
)
def test_right_values_in_net_params_fit(name, value):
    estimator = ConvVAETransformer(2, max_epochs=1, net_params={name: value})
    assert np.isfinite(estimator.fit_transform(np.eye(4))).all()


def test_labels_become_indicators():
    target = check_target(["b", "a", "b"], 3)
    np.testing.assert_array_equal(target.classes, ["a", "b"])
    np.testing.assert_array_equal(target.values, [[0, 1], [1, 0], [0, 1]])
    assert target.n_dims == 1  # that is all a linear map needs to tell two classes


@pytest.mark.parametrize(
    "y", [[3, -1, 5], ["x", -1, "y"], np.array(["x", -1, "y"], dtype=object)]
)
def test_minus_one_is_unlabelled(y):
    target = check_target(y, 3)
    assert len(target.classes) == 2
    np.testing.assert_array_equal(target.values, [[1, 0], [np.nan] * 2, [0, 1]])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, 2], r"X has 3 samples and y has shape \(2,\)"),
        ([-1, 1, 1], r"1 class\(es\) besides -1.*target_type='labels'"),
    ],
)
def test_labels_that_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        check_target(y, 3)


def test_labels_that_the_first_fit_did_not_see_are_refused():
    before = check_target(["a", "b"], 2)
    with pytest.raises(ValueError, match=r"\['c'\], which the first fit did not see"):
        check_target(["a", "b", "c"], 3, before)


@pytest.mark.parametrize(
    "y",
    [
        np.array(["a", None, "b"], object),
        np.array(["a", np.nan, "b"], object),
        ["a", pd.NA, "b"],
    ],
)
def test_missing_labels_are_to_be_written_as_minus_one(y):
    with pytest.raises(ValueError, match=r"missing labels.*-1"):
        check_target(y, 3)
