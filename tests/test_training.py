"""Batches, seeds, devices and what the skorch net does differently."""

import contextlib
import copy
import itertools
import pickle
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from skorch.callbacks import Callback, GradientNormClipping, PrintLog
from skorch.dataset import ValidSplit

from skvae import ConvVAETransformer, training
from skvae.network import same_padding
from skvae.scaling import ChannelScaler
from skvae.training import (
    Batches,
    SignalDataset,
    add_guesses,
    decoder_gains,
    draw_seed,
    forked_random_state,
    map_batches,
    n_batches,
    resolve_device,
)


def make_dataset(n_samples, y=None):
    X = np.arange(n_samples * 2.0).reshape(n_samples, 1, 2)
    return SignalDataset(X, ChannelScaler(None).fit(X), y)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("n_samples", [2, 3, 7, 8, 9, 16, 17])
def test_batches_hold_every_sample_once_and_never_one_alone(n_samples, shuffle):
    batches = Batches(make_dataset(n_samples), 8, shuffle)
    xs = [x for x, _ in batches]
    assert len(xs) == len(batches) == n_batches(n_samples, 8)
    assert min(map(len, xs)) > 1
    assert sorted(torch.cat(xs)[:, 0, 0].tolist()) == list(range(0, 2 * n_samples, 2))


def test_batches_are_shuffled_anew_each_epoch():
    batches = Batches(make_dataset(40), 8, shuffle=True)
    first, second = (torch.cat([x for x, _ in batches]) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("n_labelled", "n_drawn"), [(1, 10), (5, 50), (8, 75), (50, 75)]
)
def test_few_labelled_samples_are_repeated_in_every_batch(n_labelled, n_drawn):
    y = np.zeros((100, 2), np.float32)
    y[:n_labelled, 1] = 1
    torch.manual_seed(0)
    batches = list(Batches(make_dataset(100, y), 16, shuffle=True))
    assert [len(y) for _, y in batches] == [16] * 6 + [4]
    counts = np.array([int(y.sum()) for _, y in batches])
    assert counts.sum() == n_drawn
    assert abs(counts[:6] - 0.16 * n_drawn).max() <= 1
    samples = torch.cat([x for x, _ in batches])[:, 0, 0] / 2
    counts = np.bincount(samples.int(), minlength=100)
    assert np.ptp(counts[:n_labelled]) <= 1  # the labelled ones equally often
    assert max(counts[n_labelled:]) == 1


@pytest.mark.parametrize("n_labelled", [0, 75, 100])
def test_samples_come_once_where_none_or_enough_are_labelled(n_labelled):
    y = np.zeros((100, 2), np.float32)
    y[:n_labelled, 1] = 1
    batches = Batches(make_dataset(100, y), 16, shuffle=True)
    samples = torch.cat([x for x, _ in batches])[:, 0, 0] / 2
    assert sorted(samples.tolist()) == list(range(100))


def test_guesses_count_more_and_more(waves, monkeypatch):
    weights, original = [], training.add_guesses

    def record(y, class_scores, weight):
        weights.append(float(weight))
        return original(y, class_scores, weight)

    monkeypatch.setattr(training, "add_guesses", record)
    y = np.where(np.arange(len(waves)) < 20, np.arange(len(waves)) % 2, -1)
    vae = ConvVAETransformer(2, label_weight=1.0, batch_size=50, max_epochs=5)
    vae.set_params(linear_path=False, reconstruction_weight=1.0).fit(waves, y)
    np.testing.assert_allclose(weights, np.arange(20) / 20, atol=1e-6)


def test_without_any_label_the_classes_do_not_matter(waves):
    def fit(label_weight):
        vae = ConvVAETransformer(2, label_weight=label_weight, random_state=0)
        y = np.full(len(waves), -1)
        for _ in range(2):
            vae.partial_fit(waves, y, classes=[0, 1, 2])
        return vae.transform(waves)

    np.testing.assert_array_equal(fit(1.0), fit(100.0))


def test_skorchs_split_holds_signals_back(waves):
    vae = ConvVAETransformer(
        2, max_epochs=2, net_params={"train_split": ValidSplit(5)}, random_state=0
    ).fit(waves)
    assert len(vae.history_["valid_loss"]) == 2


def test_guesses_fill_up_what_is_not_labelled():
    y = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.4]])
    probabilities = torch.tensor([[0.5, 0.5], [0.2, 0.8], [0.8, 0.2]])
    squared = probabilities.square() / probabilities.square().sum(1, keepdim=True)
    missing = torch.tensor([[0.0], [1.0], [0.6]])
    assert torch.equal(add_guesses(0 * y, probabilities.log(), 0.5), 0 * y)
    filled = add_guesses(y, probabilities.log(), 0.5)
    torch.testing.assert_close(filled, y + 0.5 * missing * squared)
    assert torch.equal(add_guesses(y, probabilities.log(), 0.0), y)


def test_subset_and_sample_take_the_samples_they_say():
    dataset = make_dataset(300).subset(torch.arange(290, 300))
    assert len(dataset) == 10
    np.testing.assert_array_equal(dataset.sample(10)[:, 0, 0], np.arange(580, 600, 2))
    sample = make_dataset(300).sample(10)
    assert len(np.unique(sample[:, 0, 0])) == len(sample) == 256


def test_mixup_mixes_signals_and_labels_alike():
    torch.manual_seed(0)
    X = np.eye(500)[:, None]
    dataset = SignalDataset(X, ChannelScaler(None).fit(X), X[:, 0].astype(np.float32))
    batches = Batches(dataset, 100, shuffle=True, mixup=0.4)
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    torch.testing.assert_close(x[:, 0], y)
    torch.testing.assert_close(y.sum(dim=1), torch.ones(500))
    assert (y > 0).sum(dim=1).max() == 2
    # The distribution is symmetric: either of the two weights of a sample has it.
    weights = y[torch.arange(500), (y > 0).int().argmax(dim=1)]
    assert stats.kstest(weights.numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 1e-3


def test_shift_moves_signals_by_random_steps_and_repeats_their_edges():
    torch.manual_seed(0)
    X = np.tile(np.arange(50.0), (300, 1, 1))
    dataset = SignalDataset(X, ChannelScaler(None).fit(X))
    (x, target), *_ = Batches(dataset, 300, shift=3)
    assert target is x
    steps = X[0, 0, 25] - x[:, 0, 25]
    assert set(steps.tolist()) == set(range(-3, 4))
    expected = (torch.arange(50) - steps[:, None]).clamp(0, 49)
    assert torch.equal(x[:, 0], expected.float())


def test_data_larger_than_what_is_kept_trains_alike(waves, monkeypatch):
    params = {"max_epochs": 2, "batch_size": 33, "random_state": 0}
    y = np.arange(len(waves)) % 3
    kept = ConvVAETransformer(2, label_weight=1.0, **params).fit(waves, y)
    monkeypatch.setattr(training, "RESIDENT_BYTES", 0)
    read = ConvVAETransformer(2, label_weight=1.0, **params).fit(waves, y)
    np.testing.assert_array_equal(kept.transform(waves), read.transform(waves))
    np.testing.assert_array_equal(
        kept.history_["train_loss"], read.history_["train_loss"]
    )


class Recorder(Callback):
    """Keeps the batches of each epoch."""

    def on_train_begin(self, net, **kwargs):
        self.epochs_ = []

    def on_epoch_begin(self, net, **kwargs):
        self.epochs_.append([])

    def on_batch_end(self, net, batch, **kwargs):
        self.epochs_[-1].append(batch[0].clone())


def test_fit_shuffles_anew_each_epoch_and_holds_nothing_back(waves):
    vae = ConvVAETransformer(
        2,
        max_epochs=2,
        mixup=0,
        scale=None,
        batch_size=16,
        callbacks=[("recorder", Recorder())],
        random_state=0,
    ).fit(waves)
    first, second = map(torch.cat, dict(vae.net_.callbacks_)["recorder"].epochs_)
    X = torch.from_numpy(waves).float()
    for epoch in (first, second):
        assert not torch.equal(epoch[:, 0], X)
        assert torch.equal(epoch[:, 0].sort(dim=0).values, X.sort(dim=0).values)
    assert not torch.equal(first, second)


def test_the_host_reads_the_device_once_an_epoch(waves, monkeypatch):
    """Each read waits for all that a GPU has been given to do."""
    n_reads = []
    for name in ("item", "__float__", "__bool__", "tolist", "numpy", "cpu", "nonzero"):
        original = getattr(torch.Tensor, name)

        def read(self, *args, original=original):
            n_reads.append(1)
            return original(self, *args)

        monkeypatch.setattr(torch.Tensor, name, read)

    def count(n_samples):
        n_reads.clear()
        vae = ConvVAETransformer(2, batch_size=4, max_epochs=1, linear_path=False)
        vae.set_params(reconstruction_weight=1.0, label_weight=1.0)
        vae.fit(waves[:n_samples], np.arange(n_samples) % 3 - 1)
        return len(n_reads)

    assert count(160) == count(80)


def test_training_is_that_of_a_plain_loop_step_by_step(waves):
    """In the same order, from the same weights, with the same draws of the latents."""
    X = waves[:96]
    vae = ConvVAETransformer(
        2,
        reconstruction_weight=3.0,
        scale=None,
        linear_path=False,
        batch_norm=True,
        mixup=0,
        input_noise=0,
        lr=3e-4,
        lr_schedule=None,
        max_epochs=2,
        random_state=0,
    )

    class Losses(Recorder):
        def on_train_begin(self, net, **kwargs):
            super().on_train_begin(net, **kwargs)
            self.losses_ = []
            self.start_ = copy.deepcopy(net.module_)

        def on_batch_begin(self, net, batch, **kwargs):
            torch.manual_seed(len(self.losses_))

        def on_batch_end(self, net, loss, **kwargs):
            super().on_batch_end(net, **kwargs)
            self.losses_.append(loss.detach())

    vae.set_params(callbacks=[("losses", Losses())]).fit(X)
    ours = dict(vae.net_.callbacks_)["losses"]

    module = ours.start_.train()
    encoder, decoder = module.encoder, module.decoder
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-4, foreach=False)
    losses = []
    for x in itertools.chain(*ours.epochs_):
        torch.manual_seed(len(losses))
        h = x
        for layer in encoder.convolutions:
            if isinstance(layer, torch.nn.Conv2d):
                left, right = same_padding(h.shape[2], 8, 2)
                h = F.pad(h, (left, right))
                h = F.conv1d(h, layer.weight[:, :, 0], layer.bias, stride=2)
            elif isinstance(layer, torch.nn.BatchNorm2d):
                h = batch_norm(h, layer)
            else:
                h = h.clamp(min=0)
        h = encoder.hidden(h.transpose(1, 2).flatten(1))
        z_mean, z_log_var = encoder.z_mean(h), encoder.z_log_var(h)
        z = z_mean + (0.5 * z_log_var).exp() * torch.randn_like(z_mean)
        h = decoder.hidden(z).unflatten(1, decoder.start).transpose(1, 2)
        for layer in [*decoder.convolutions, decoder.output]:
            if isinstance(layer, torch.nn.ConvTranspose2d):
                stride = layer.stride[1]
                left, _ = same_padding(layer.n_timepoints, layer.kernel_size[1], stride)
                h = F.conv_transpose1d(
                    h, layer.weight[:, :, 0], layer.bias, stride=stride
                )
                h = h[:, :, left : left + layer.n_timepoints]
            elif isinstance(layer, torch.nn.BatchNorm2d):
                h = batch_norm(h, layer)
            else:
                h = h.clamp(min=0)
        sse = (h - x).square().sum(dim=(1, 2))
        kl = 0.5 * (z_mean**2 + z_log_var.exp() - 1 - z_log_var).sum(dim=1)
        log_constant = x[0].numel() / 2 * np.log(3.0 / np.pi)
        loss = (3.0 * sse + kl).mean() - log_constant
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    torch.testing.assert_close(
        torch.stack(ours.losses_), torch.stack(losses), rtol=1e-4, atol=0
    )
    assert losses[-1] < 0.9 * losses[0]


def batch_norm(h, layer):
    mean, variance = h.mean(dim=(0, 2)), h.var(dim=(0, 2), unbiased=False)
    h = (h - mean[:, None]) / (variance[:, None] + layer.eps).sqrt()
    return h * layer.weight[:, None] + layer.bias[:, None]


@pytest.fixture
def fake_graphs(monkeypatch):
    """CUDA graphs on a CPU: recording has no effect, `replay` that of a plain step."""
    nets, graphs = [], []

    class FakeGraph:
        def __init__(self):
            graphs.append(self)
            self.n_replays = 0

        def replay(self):
            net, captured = nets[-1], nets[-1].step_graph_.captured.values()
            (own,) = [step for step in captured if step.graph is self]
            net.plain_train_step((own.x, own.y))
            own.terms.copy_(net.terms_)
            self.n_replays += 1

    @contextlib.contextmanager
    def record(graph, stream, capture_error_mode):
        net = nets[-1]
        tensors = [*net.module_.state_dict().values(), net.noise_]
        for state in net.optimizer_.state.values():
            tensors += state.values()
        before = [tensor.clone() for tensor in tensors]
        random_state = torch.get_rng_state()
        yield
        torch.set_rng_state(random_state)
        for tensor, value in zip(tensors, before, strict=True):
            tensor.detach().copy_(value)

    def suits(net):
        nets.append(net)
        return True

    monkeypatch.setattr(training.StepGraph, "suits", suits)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", record)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    return graphs


class LowerBeta(Callback):
    def on_epoch_begin(self, net, **kwargs):
        net.criterion_.beta = 1 / (1 + len(net.history))


class PickleNet(Callback):
    def on_epoch_end(self, net, **kwargs):
        copied = pickle.loads(pickle.dumps(net))
        assert copied.step_graph_ is copied.noise_ is None


def test_graphed_steps_are_the_plain_ones(waves, request):
    params = {"batch_size": 24, "max_epochs": 3, "kl_warmup": 1 / 3, "random_state": 0}
    y = np.arange(len(waves)) % 4 - 1  # a quarter unlabelled

    def fit():
        callbacks = [("beta", LowerBeta()), ("pickle", PickleNet())]
        vae = ConvVAETransformer(2, label_weight=1.0, callbacks=callbacks, **params)
        return vae.fit(waves[:110], y[:110])

    plain = fit()
    graphs = request.getfixturevalue("fake_graphs")
    graphed = fit()
    # Of 5 batches an epoch the last is smaller. In training beta changes twice, in
    # the rehearsal, which has no callbacks, never: its 4 batches are 3 full ones.
    assert [graph.n_replays for graph in graphs] == [9 - 3, 4 - 3, 4 - 3, 4 - 3]
    for name, values in plain.history_.items():
        np.testing.assert_allclose(graphed.history_[name], values, rtol=1e-5)
    np.testing.assert_allclose(
        graphed.transform(waves), plain.transform(waves), rtol=1e-4, atol=1e-5
    )
    groups = graphed.net_.optimizer_.param_groups
    assert all(isinstance(group["lr"], float) for group in groups)
    assert not any(group["capturable"] for group in groups)
    pickle.dumps(graphed)


@pytest.mark.parametrize("n_samples", [32, 40, 33, 64])
def test_steps_of_each_size_are_captured(waves, fake_graphs, n_samples):
    """In batches of 32: 40 signals make steps of 32 and 8 in turn, 33 make one."""
    vae = ConvVAETransformer(2, linear_path=False, reconstruction_weight=1.0)
    vae.set_params(batch_size=32, max_epochs=33, random_state=0).fit(waves[:n_samples])
    expected = {32: [33 - 3], 40: [33 - 3, 33 - 30], 33: [33 - 3], 64: [66 - 3]}
    assert [graph.n_replays for graph in fake_graphs] == expected[n_samples]


def test_validation_between_epochs_keeps_the_graph(waves, fake_graphs):
    vae = ConvVAETransformer(2, linear_path=False, reconstruction_weight=1.0)
    vae.set_params(early_stopping=True, batch_size=30, max_epochs=4, random_state=0)
    vae.fit(waves)  # 180 to train on, 6 steps an epoch
    assert [graph.n_replays for graph in fake_graphs] == [4 * 6 - 3]


def test_training_goes_on_where_a_step_cannot_be_captured(
    waves, fake_graphs, monkeypatch
):
    class Generator:
        """Refuses to draw after a failed capture, as torch's until 2.11."""

        state = "capturing"

        def clone_state(self):
            return "drawing"

        def graphsafe_set_state(self, state):
            self.state = state

    def refuse(graph, stream, capture_error_mode):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    monkeypatch.setattr(torch.cuda, "default_generators", [None, Generator()])
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    vae = ConvVAETransformer(2, max_epochs=2, linear_path=False, random_state=0)
    vae.set_params(reconstruction_weight=1.0)
    with pytest.warns(RuntimeWarning, match="not permitted.*without"):
        vae.fit(waves)
    assert len(fake_graphs) == 1
    assert torch.cuda.default_generators[1].state == "drawing"


class FakeStream:
    def __init__(self, waits):
        self.waits = waits

    def wait_stream(self, other):
        self.waits.append((self, other))


def test_what_follows_interrupted_training_waits_for_its_stream(monkeypatch):
    """Else its memory could be given away while a step still writes to it."""
    waits = []
    outside = FakeStream(waits)
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: outside)
    monkeypatch.setattr(torch.cuda, "Stream", lambda index: FakeStream(waits))
    training.stream_of_training.cache_clear()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), training.side_stream("cuda"):
            raise KeyboardInterrupt
    training.stream_of_training.cache_clear()
    inside = waits[0][0]
    assert waits == 2 * [(inside, outside), (outside, inside)]


def test_memory_that_torch_keeps_is_free_for_data(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 70)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 20)
    assert training.free_cuda_memory(torch.device("cuda")) == 150


def test_streamed_rows_are_looked_up_in_main_memory(waves, monkeypatch):
    """On the device, "meta" here, each batch would wait for the step before."""
    monkeypatch.setattr(SignalDataset, "_fits", lambda self: False)
    scaler = ChannelScaler("standard").fit(waves[:, None])
    y = np.eye(4, dtype=np.float32)[np.arange(len(waves)) % 4]
    dataset = SignalDataset(waves[:, None], scaler, y, "meta")
    assert dataset.rows.device.type == dataset.y.device.type == "cpu"
    first, _ = dataset.split(90)
    batches = list(Batches(first, 32, shuffle=True))
    assert [len(x) for x, _ in batches] == [32, 32, 26]
    assert {x.device.type for batch in batches for x in batch} == {"meta"}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, True),
        ({"device": "cpu"}, False),
        ({"optimizer": torch.optim.SGD}, False),
        ({"callbacks": [("clip", GradientNormClipping(1.0))]}, False),
        ({"callbacks": [("print", PrintLog())]}, True),
    ],
)
def test_which_steps_are_captured(waves, params, expected):
    vae = ConvVAETransformer(2, max_epochs=1, **params).fit(waves[:20])
    net = vae.net_
    net.device = str(params.get("device", "cuda"))
    assert training.StepGraph.suits(net) is expected


def test_decoder_gains_match_the_jacobian():
    torch.manual_seed(0)
    decoder = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 7)
    ).double()
    z = torch.randn(4, 3, dtype=torch.float64)
    gains = decoder_gains(decoder, z, step=1e-4)
    for gain, point in zip(gains, z, strict=True):
        jacobian = torch.autograd.functional.jacobian(decoder, point)
        torch.testing.assert_close(gain, jacobian.square().sum(dim=0))


@pytest.mark.parametrize("n_samples", [1, 15, 16, 17, 100])
def test_map_batches_gives_every_sample_its_result(n_samples, monkeypatch):
    monkeypatch.setitem(training.INFERENCE_VALUES, "cpu", 100)
    values = np.arange(3.0 * n_samples, dtype=np.float32).reshape(n_samples, 3)
    result = map_batches(lambda x: 2 * x, values.__getitem__, n_samples, 3, "cpu")
    np.testing.assert_array_equal(result, 2 * values)


def test_map_batches_halves_its_batches_when_memory_runs_out():
    sizes = []

    def function(x):
        sizes.append(len(x))
        if len(x) > 100:
            raise torch.cuda.OutOfMemoryError
        return x

    values = np.ones((1000, 4), np.float32)
    result = map_batches(function, values.__getitem__, 1000, 400, "cpu")
    np.testing.assert_array_equal(result, values)
    assert sizes[0] > 100 >= sizes[-1] >= training.MIN_INFERENCE_BATCH


def test_map_batches_gives_up_at_the_smallest_batch():
    def function(x):
        raise torch.cuda.OutOfMemoryError

    with pytest.raises(torch.cuda.OutOfMemoryError):
        map_batches(function, np.ones((99, 4), np.float32).__getitem__, 99, 4, "cpu")


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


@pytest.mark.parametrize(
    ("device", "has_cuda", "expected"),
    [
        ("auto", False, "cpu"),
        ("auto", True, "cuda"),
        ("cpu", True, "cpu"),
        ("cuda", True, "cuda"),
        ("cuda:1", True, "cuda:1"),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_device_is_resolved_when_used(
    device, has_cuda, expected, training, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    assert resolve_device(device, training=training) == expected


def test_a_missing_gpu_stops_training_but_not_inference():
    with pytest.raises(ValueError, match=r"device='cuda:0'.*no GPU.*device='auto'"):
        resolve_device("cuda:0", training=True)
    with pytest.warns(UserWarning, match="The CPU is used"):
        assert resolve_device("cuda:0", training=False) == "cpu"


def test_early_stopping_stops_and_restores_the_best_epoch(waves):
    """Against an equal net trained for exactly `best_epoch_` epochs."""
    params = {
        "random_state": 0,
        "early_stopping": True,
        "lr": 0.02,
        "lr_schedule": None,
    }
    stopped = ConvVAETransformer(12, max_epochs=60, patience=3, **params).fit(waves)
    assert stopped.n_epochs_ == stopped.best_epoch_ + 3 < 60
    losses = stopped.history_["valid_loss"]
    assert min(losses) < 0  # where a relative threshold has the wrong sign
    assert np.argmin(losses) + 1 == stopped.best_epoch_
    equal = ConvVAETransformer(
        12, max_epochs=stopped.best_epoch_, patience=60, **params
    ).fit(waves)
    assert equal.best_epoch_ == stopped.best_epoch_
    for ours, theirs in zip(
        stopped.module_.parameters(), equal.module_.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_early_stopping_waits_for_the_warm_up(waves):
    vae = ConvVAETransformer(
        2,
        early_stopping=True,
        patience=1,
        kl_warmup=0.8,
        lr=0.1,
        max_epochs=20,
        lr_schedule=None,
        random_state=0,
    ).fit(waves)
    assert vae.n_epochs_ >= 16


def test_history_is_that_of_all_samples_not_of_the_last_batch(waves):
    """With frozen weights an epoch's terms are those of one pass in one batch."""
    params = {
        "lr": 1e-30,
        "mixup": 0,
        "input_noise": 0,
        "max_epochs": 1,
        "random_state": 0,
        "linear_path": True,
        "lr_schedule": None,
    }
    small = ConvVAETransformer(2, batch_size=33, **params).fit(waves).history_
    whole = ConvVAETransformer(2, batch_size=200, **params).fit(waves).history_
    np.testing.assert_allclose(small["train_kl"], whole["train_kl"], rtol=1e-4)
    assert small["train_kl"] == pytest.approx(small["train_kl_per_dim"].sum())


def test_divergence_raises_with_advice_and_leaves_nothing_fitted(waves):
    vae = ConvVAETransformer(2, lr=1e20, lr_schedule=None, max_epochs=5)
    with pytest.raises(FloatingPointError, match=r"epoch.*Lower lr"):
        vae.fit(waves)
    assert not vae.__sklearn_is_fitted__()
    assert vars(vae) == vars(ConvVAETransformer(**vae.get_params()))
