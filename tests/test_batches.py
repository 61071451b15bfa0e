"""Devices, threads, seeds, and functions applied a batch at a time."""

import random
import threading

import numpy as np
import pytest
import torch

from skvae import batches, threads
from skvae.batches import map_batches, resolve_device
from skvae.threads import draw_seed, forked_random_state, torch_threads

# Devices


@pytest.mark.parametrize(
    ("device", "has_cuda", "expected"),
    [
        ("auto", False, "cpu"),
        ("auto", True, "cuda"),
        ("cpu", False, "cpu"),
        ("cpu", True, "cpu"),
        ("cuda", True, "cuda"),
        ("cuda:1", True, "cuda:1"),
        (torch.device("cpu"), True, torch.device("cpu")),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_device_is_resolved_when_used(
    device, has_cuda, expected, training, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    assert resolve_device(device, training=training) == expected


def test_a_missing_gpu_stops_training_but_not_inference(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device='cuda:0'.*no GPU.*device='auto'"):
        resolve_device("cuda:0", training=True)
    with pytest.warns(UserWarning, match="The CPU is used"):
        assert resolve_device("cuda:0", training=False) == "cpu"


def test_a_device_that_torch_does_not_know_is_refused():
    with pytest.raises(ValueError, match=r"'gpu' is not a device.*'cuda:0'"):
        resolve_device("gpu", training=False)


# Threads


def test_the_number_of_threads_is_limited_inside_only(two_threads):
    with torch_threads(1):
        assert torch.get_num_threads() == 1
        with torch_threads(2):  # a limit, not a wish
            assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), torch_threads(1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


def test_a_number_of_threads_that_is_refused_changes_nothing(two_threads, monkeypatch):
    # So that other tests find it as it was, should this one fail.
    monkeypatch.setattr(threads, "THREADS_OUTSIDE", {})
    with pytest.raises((RuntimeError, ValueError)), torch_threads(0):
        pass
    torch.set_num_threads(1)
    with torch_threads(1):
        pass
    assert torch.get_num_threads() == 1


# Seeds


def test_forked_random_state_leaves_the_global_states_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with forked_random_state(3):
        first = torch.rand(2)
    with forked_random_state(3):
        assert torch.equal(first, torch.rand(2))
    draw_seed(None)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])
    assert before[2] == random.getstate()


def test_forked_random_states_of_threads_do_not_mix():
    """Two threads that both draw, one number after the other, as if each was alone."""
    barrier, drawn = threading.Barrier(2, timeout=30), {}

    def draw(seed):
        barrier.wait()
        with forked_random_state(seed):
            drawn[seed] = [torch.rand(()).item() for _ in range(200)]

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (1, 2):
        generator = torch.Generator().manual_seed(seed)
        expected = [torch.rand((), generator=generator).item() for _ in range(200)]
        assert drawn[seed] == expected


def test_seeds_come_from_what_is_given():
    assert draw_seed(7) == draw_seed(7) != draw_seed(8)
    state = np.random.RandomState(0)
    assert draw_seed(state) != draw_seed(state)
    assert draw_seed(None) != draw_seed(None)


# A batch at a time


@pytest.mark.parametrize("n_samples", [1, 15, 16, 17, 100, 2000])
def test_map_batches_gives_every_sample_its_result(n_samples, monkeypatch, two_threads):
    monkeypatch.setitem(batches.INFERENCE_TIMEPOINTS, "cpu", 100)
    workers = set()

    def double(x):
        workers.add(threading.get_ident())
        assert torch.get_num_threads() == 1
        return 2 * x

    values = np.arange(3.0 * n_samples, dtype=np.float32).reshape(n_samples, 3)
    result = map_batches(double, values.__getitem__, n_samples, 3, "cpu")
    np.testing.assert_array_equal(result, 2 * values)
    assert (len(workers) > 1) is (n_samples == 2000)  # many batches share the threads
    assert torch.get_num_threads() == 2


def test_what_prepares_batches_is_not_filled_up():
    """It comes before the function, where memory runs out of halves too."""
    sizes = []

    def prepare(x):
        sizes.append(len(x))
        if len(x) > 100:
            raise torch.cuda.OutOfMemoryError
        return x + 1

    def double(x):
        assert len(x) >= batches.MIN_INFERENCE_BATCH
        return 2 * x

    values = np.random.default_rng(0).random((150, 4), np.float32)
    for n_samples, expected in ((1, [1]), (150, [150, 75, 75])):
        sizes.clear()
        read = values[:n_samples].__getitem__
        result = map_batches(double, read, n_samples, 4, "cpu", prepare)
        np.testing.assert_array_equal(result, 2 * (values[:n_samples] + 1))
        assert sizes == expected


def test_map_batches_keeps_the_functions_dtype_and_shape():
    values = np.ones((20, 4), np.float32)
    result = map_batches(
        lambda x: x.double().sum(dim=1), values.__getitem__, 20, 4, "cpu"
    )
    assert result.shape == (20,)
    assert result.dtype == np.float64


@pytest.mark.parametrize("n_arrays", [1, 3])
def test_map_batches_gives_as_many_arrays_as_the_function_has(n_arrays):
    """Those of a tuple, of halves too; one array where it returns no tuple."""
    values = np.arange(600, dtype=np.float32)[:, None]

    def multiples(x):
        if len(x) > 100:
            raise torch.cuda.OutOfMemoryError
        return tuple(factor * x[:, 0] for factor in range(1, n_arrays + 1))

    arrays = map_batches(multiples, values.__getitem__, 600, 400, "cpu")
    assert isinstance(arrays, tuple)
    assert len(arrays) == n_arrays
    for factor, array in enumerate(arrays, start=1):
        np.testing.assert_array_equal(array, factor * values[:, 0])


def test_an_error_in_a_batch_is_raised(monkeypatch, two_threads):
    monkeypatch.setitem(batches.INFERENCE_TIMEPOINTS, "cpu", 100)

    def refuse(x):
        if x.max() > 500:
            raise ZeroDivisionError
        return x

    values = np.arange(1000, dtype=np.float32)[:, None]
    with pytest.raises(ZeroDivisionError):
        map_batches(refuse, values.__getitem__, 1000, 3, "cpu")
    assert torch.get_num_threads() == 2


def test_map_batches_halves_its_batches_when_memory_runs_out():
    sizes = []

    def function(x):
        sizes.append(len(x))
        if len(x) > 100:
            raise torch.cuda.OutOfMemoryError
        return x

    values = np.random.default_rng(0).random((1000, 4), np.float32)
    result = map_batches(function, values.__getitem__, 1000, 400, "cpu")
    np.testing.assert_array_equal(result, values)
    assert sizes[0] > 100 >= sizes[-1] >= batches.MIN_INFERENCE_BATCH


def test_map_batches_gives_up_at_the_smallest_batch():
    def function(x):
        raise torch.cuda.OutOfMemoryError

    with pytest.raises(torch.cuda.OutOfMemoryError):
        map_batches(function, np.ones((99, 4), np.float32).__getitem__, 99, 4, "cpu")
