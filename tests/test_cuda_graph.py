"""Training steps as CUDA graphs, by a stand-in for the GPU.

The stand-in records nothing: it replays a graph by a plain training step on what the
graph holds. So these tests say which steps are captured, when a graph is dropped and
what is put into it; not that a GPU can capture a step, that its replay computes the
same, that draws differ from replay to replay, or that it is faster. `test_gpu.py`,
where there is a GPU, asks that.
"""

import contextlib
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, GradientNormClipping, PrintLog

from skvae import ConvVAETransformer
from skvae.training import cuda_graph
from skvae.training.cuda_graph import StepGraph, side_stream, stream_of_training

GRAPHS = {"cuda_graphs": True}


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
            net.plain_train_step(own.batch)
            own.terms.copy_(net.terms_)
            self.n_replays += 1

    @contextlib.contextmanager
    def record(graph, stream, capture_error_mode):
        net = nets[-1]
        tensors = list(net.module_.state_dict().values())
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
        return net.cuda_graphs

    monkeypatch.setattr(StepGraph, "suits", suits)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", record)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: FakeStream([]))
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(cuda_graph, "stream_of_training", lambda index: FakeStream([]))
    return graphs


class FakeStream:
    def __init__(self, waits):
        self.waits = waits

    def wait_stream(self, other):
        self.waits.append((self, other))


class LowerBeta(Callback):
    def on_epoch_begin(self, net, **kwargs):
        net.criterion_.beta = 1 / (1 + len(net.history))


class PickleNet(Callback):
    def on_epoch_end(self, net, **kwargs):
        copied = pickle.loads(pickle.dumps(net))
        assert copied.step_graph_ is copied.warmup_ is copied.terms_ is None


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
@pytest.mark.parametrize("linear_path", [False, True])
def test_graphed_steps_are_the_plain_ones(waves, fake_graphs, linear_path):
    y = np.arange(len(waves)) % 4 - 1  # a quarter unlabelled

    def fit(**net_params):
        vae = ConvVAETransformer(
            2,
            label_weight=1.0,
            linear_path=linear_path,
            dropout=0.0,  # it makes more of what is rounded otherwise
            batch_size=24,
            max_epochs=3,
            net_params={"kl_warmup": 1 / 3, **net_params},
            callbacks=[("beta", LowerBeta()), ("pickle", PickleNet())],
            random_state=0,
        )
        n_samples = 137 if linear_path else 110  # of the former, 27 test training
        return vae.fit(waves[:n_samples], y[:n_samples])

    plain = fit()
    assert fake_graphs == []  # off unless asked for
    graphed = fit(**GRAPHS)
    # Of 5 batches an epoch the last is smaller. Beta changes in the second and in the
    # third, and with it what a graph keeps: three plain steps each time.
    assert [graph.n_replays for graph in fake_graphs] == [4 - 3, 4 - 3, 4 - 3]
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
    vae = ConvVAETransformer(2, linear_path=False, net_params=GRAPHS)
    vae.set_params(batch_size=32, max_epochs=33, random_state=0).fit(waves[:n_samples])
    expected = {32: [33 - 3], 40: [33 - 3, 33 - 30], 33: [33 - 3], 64: [66 - 3]}
    assert [graph.n_replays for graph in fake_graphs] == expected[n_samples]


def test_validation_between_epochs_keeps_the_graph(waves, fake_graphs):
    vae = ConvVAETransformer(2, linear_path=False, net_params=GRAPHS)
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
    vae.set_params(net_params=GRAPHS)
    with pytest.warns(RuntimeWarning, match="not permitted.*without"):
        vae.fit(waves)
    assert len(fake_graphs) == 1
    assert torch.cuda.default_generators[1].state == "drawing"


@pytest.mark.parametrize("suited", [True, False])
def test_what_follows_interrupted_training_waits_for_its_stream(monkeypatch, suited):
    """Else its memory could be given away while a step still writes to it."""
    waits = []
    outside = FakeStream(waits)
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: outside)
    monkeypatch.setattr(torch.cuda, "Stream", lambda index: FakeStream(waits))
    monkeypatch.setattr(StepGraph, "suits", lambda net: suited)
    net = SimpleNamespace(device="cuda")
    stream_of_training.cache_clear()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), side_stream(net):
            raise KeyboardInterrupt
    stream_of_training.cache_clear()
    if suited:
        inside = waits[0][0]
        assert waits == 2 * [(inside, outside), (outside, inside)]
    else:
        assert waits == []


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"net_params": {}}, False),  # off by default
        ({}, True),
        ({"device": "cpu"}, False),
        ({"net_params": {**GRAPHS, "optimizer": torch.optim.SGD}}, False),
        ({"callbacks": [("clip", GradientNormClipping(1.0))]}, False),
        ({"callbacks": [("print", PrintLog())]}, True),
    ],
)
def test_which_steps_are_captured(waves, params, expected):
    vae = ConvVAETransformer(2, max_epochs=1, **{"net_params": GRAPHS, **params})
    net = vae.fit(waves[:20]).net_
    net.device = str(params.get("device", "cuda"))
    assert StepGraph.suits(net) is expected
