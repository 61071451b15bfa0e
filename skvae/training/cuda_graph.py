"""Training steps on a GPU, captured as CUDA graphs; off unless asked for.

No GPU has run this yet. `VAENet` uses `StepGraph` and `side_stream`; nothing else
knows of them.
"""

import contextlib
from collections import Counter
from functools import cache
from typing import NamedTuple

import torch
from skorch.callbacks import Callback

from skvae.processes import n_processes
from skvae.runtime import warn_user


class StepGraph:
    """Training steps on a GPU, captured as CUDA graphs and replayed.

    A network this small is bound by the launches of its kernels, of which a graph makes
    one. The first steps are plain ones, on which libraries set themselves up; so are
    those after a callback has changed what a graph keeps. Another size, as of the last
    batch of an epoch, gets a graph of its own once there were so many steps of it that
    it is worth the time. What a step returns is overwritten by the next one.

    References
    ----------
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    N_PLAIN = 3
    N_PLAIN_OTHER = 30

    def __init__(self, net):
        self.net = net
        self.n_plain = Counter()  # by size
        self.captured = {}
        self.kept = None
        self.may_capture = True
        # Read by the graph, written by schedules.
        n_groups = len(net.optimizer_.param_groups)
        rates = torch.zeros(n_groups, dtype=torch.float32, device=net.device)
        self.rates = list(rates)

    @staticmethod
    def suits(net):
        """Whether graphs are asked for, and a step is the same work each time."""
        return (
            net.cuda_graphs
            and n_processes() == 1
            and torch.device(net.device).type == "cuda"
            and all(
                group.get("fused") and "capturable" in group
                for group in net.optimizer_.param_groups
            )
            and not any(
                type(callback).on_grad_computed is not Callback.on_grad_computed
                for _, callback in net.callbacks_
            )
        )

    @contextlib.contextmanager
    def capturable_optimizer(self):
        """Learning rates as tensors on the device inside, numbers again outside."""
        groups = self.net.optimizer_.param_groups
        for group, rate in zip(groups, self.rates, strict=True):
            group.update(lr=rate.fill_(group["lr"]), capturable=True)
        try:
            yield
        finally:
            for group in groups:
                group.update(lr=float(group["lr"]), capturable=False)

    def options(self):
        """What a graph keeps as it was when it was captured."""
        groups = self.net.optimizer_.param_groups
        # Parameters and rates are read anew, validation switches `training` and back.
        read = {"params", "lr", "capturable", "training"}
        criterion = vars(self.net.criterion_).items()
        return (
            [{k: v for k, v in group.items() if k not in read} for group in groups],
            {k: v for k, v in criterion if k[0] != "_" and k not in read},
            [p.requires_grad for group in groups for p in group["params"]],
        )

    def __call__(self, batch):
        net, size = self.net, len(batch[0])
        options = self.options()
        if options != self.kept:
            self.kept = options
            self.captured.clear()
            self.n_plain.clear()
        n_plain = self.N_PLAIN_OTHER if self.captured else self.N_PLAIN
        is_due = self.n_plain[size] >= n_plain and size not in self.captured
        if is_due and self.may_capture:
            self.capture(batch)
        if size not in self.captured:
            self.n_plain[size] += 1
            return net.plain_train_step(batch)
        captured = self.captured[size]
        for own, given in zip(tensors(captured.batch), tensors(batch), strict=True):
            own.copy_(given)
        captured.graph.replay()
        net.terms_ = captured.terms
        return captured.step

    def capture(self, batch):
        """Record a step without running it."""
        h, *target = (part.clone() for part in tensors(batch))
        graph = torch.cuda.CUDAGraph()
        self.net.optimizer_.zero_grad()  # gradients then belong to the graph
        try:
            with torch.cuda.graph(
                graph,
                stream=torch.cuda.current_stream(),
                capture_error_mode="thread_local",  # other threads may use the GPU
            ):
                step = self.net.plain_train_step((h, target))
        except RuntimeError as error:
            self.may_capture = False
            self.captured.clear()  # they draw from the generator as it was
            renew_cuda_generator()
            warn_user(
                f"A training step could not be captured as a CUDA graph ({error}). "
                "Training goes on without, several times slower.",
                RuntimeWarning,
            )
        else:
            self.captured[len(h)] = Captured(graph, (h, target), step, self.net.terms_)


def tensors(batch):
    h, target = batch
    return (h, *target)


class Captured(NamedTuple):
    """A graph, the batch it reads and what it writes."""

    graph: object
    batch: tuple
    step: dict
    terms: torch.Tensor


def renew_cuda_generator():
    """Let the current GPU's generator draw again after a capture that failed.

    It takes itself for still captured, and raises at the next draw:
    https://github.com/pytorch/pytorch/issues/171263. Its state is the same.
    """
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    generator.graphsafe_set_state(generator.clone_state())


@contextlib.contextmanager
def side_stream(net):
    """A stream of its own inside, where steps may be captured, which requires one."""
    if not StepGraph.suits(net):
        yield
        return
    with torch.cuda.device(net.device):
        stream = stream_of_training(torch.cuda.current_device())
        outside = torch.cuda.current_stream()
        stream.wait_stream(outside)
        try:
            with torch.cuda.stream(stream):
                yield
        finally:  # memory is given away also where training is interrupted
            outside.wait_stream(stream)


@cache
def stream_of_training(index):
    """The one of a GPU: cuBLAS keeps up to 32 MB of workspace for each stream."""
    return torch.cuda.Stream(index)
