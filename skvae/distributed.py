"""The processes that fit one model: what each finds, known to all or added up.

Where `torch.distributed` is initialised, each of them calls `fit` with its share of the
signals. Elsewhere there is one process, and nothing here does anything. A script for
``torchrun --nproc-per-node=2 fit.py`` on one machine, or for ``torchrun --nnodes=2
--rdzv-backend=c10d --rdzv-endpoint=HOST:29500 fit.py`` on each of two::

    import numpy as np
    import torch.distributed as dist

    from skvae import ConvVAETransformer

    dist.init_process_group()  # gloo, and NCCL where there are GPUs
    X = np.load(f"signals-{dist.get_rank()}.npy", mmap_mode="r")
    vae = ConvVAETransformer(8, batch_size=256, random_state=0).fit(X)
    if dist.get_rank() == 0:
        vae.save("vae.safetensors")
    dist.barrier()  # until it is saved
    dist.destroy_process_group()

All end with the same model, to the bit. Shares may have any sizes, from two signals up;
classes are those of all.
"""

import contextlib
import inspect

import joblib
import numpy as np
import torch
import torch.distributed as dist

# Parameters that may differ between the processes of a group.
OWN_OF_A_PROCESS = {"callbacks", "device", "random_state", "verbose"}


def n_processes():
    """Number of processes in the group, 1 without one."""
    is_group = dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if is_group else 1


def rank():
    """Number of this process in the group, from 0."""
    return dist.get_rank() if n_processes() > 1 else 0


def from_all(value):
    """An object of each process, a list in their order, in all of them."""
    if n_processes() == 1:
        return [value]
    values = [None] * n_processes()
    dist.all_gather_object(values, value)
    return values


def from_first(value):
    """An object of the first process, in all of them."""
    if n_processes() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


@contextlib.contextmanager
def shared_errors():
    """What raises inside in one process raises the same error in all of them.

    One that went on alone would wait for the others in vain.
    """
    error = None
    try:
        yield
    except Exception as raised:
        if n_processes() == 1:
            raise
        error = raised
    for number, raised in enumerate(from_all(error)):
        if raised is not None:
            if number != rank():
                raised.args = (f"In process {number}: {raised}",)
            raise error if number == rank() else raised


def refuse_differences(facts):
    """A ValueError, in all processes, where one was given something else.

    Parameters
    ----------
    facts : dict of str to anything that compares
    """
    first, *others = from_all(facts)
    for number, other in enumerate(others, start=1):
        for name, value in other.items():
            if value != first[name]:
                raise ValueError(
                    f"{name} is {value} in process {number}, but {first[name]} in "
                    "process 0. Expected the same in all processes of a group, which "
                    "fit one model."
                )


def pooled(counts, means, variances):
    """Number, mean and variance (d,) of values (n, d), from those of parts of them.

    References
    ----------
    Chan, Golub & LeVeque (1983), https://doi.org/10.1080/00031305.1983.10483115
    """
    n_values = sum(counts)
    shares = np.array(counts).reshape(len(counts), -1) / np.maximum(1, n_values)
    mean = (shares * means).sum(axis=0)
    variance = (shares * (variances + np.square(means - mean))).sum(axis=0)
    return n_values, mean, variance


def sum_over_processes(values):
    """Sum of an ndarray or Tensor over the processes."""
    if n_processes() == 1:
        return values
    total = torch.as_tensor(values).clone()
    if dist.get_backend() == "nccl":
        total = total.cuda()
    dist.all_reduce(total)
    if isinstance(values, torch.Tensor):
        return total.to(values.device)
    return total.cpu().numpy()


def average_gradients(parameters, share):
    """Make gradients those of all signals, of which this process has a share."""
    if n_processes() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = share * torch.cat([gradient.reshape(-1) for gradient in gradients])
    parts = sum_over_processes(flat).split([g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def average_batch_norm(module, share):
    """Make the running statistics of BatchNorm those of all processes' signals."""
    for layer in module.modules() if n_processes() > 1 else []:
        if getattr(layer, "running_mean", None) is not None:
            mean = sum_over_processes(share * layer.running_mean)
            spread = (layer.running_mean - mean).square()
            variance = sum_over_processes(share * (layer.running_var + spread))
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(variance)


def take_from_first(module):
    """Give a module the weights and buffers of the first process's, to the bit."""
    if n_processes() > 1:
        state = {name: values.cpu() for name, values in module.state_dict().items()}
        module.load_state_dict(from_first(state))


def check_group(estimator, goes_on):
    """Check that the processes of a group, if there is one, fit one model.

    `goes_on`: from what was fitted before.
    """
    if n_processes() == 1:
        return
    with shared_errors():
        frame = inspect.currentframe()
        while frame is not None:
            if frame.f_globals.get("__name__", "").startswith(
                "sklearn.model_selection."
            ):
                raise ValueError(
                    "A search or cross-validation runs within a process group, where "
                    "each process would score its own share of the signals. Search "
                    "first, in one process or on Dask, then fit the best in the group."
                )
            frame = frame.f_back
        if estimator.checkpoint is not None:
            raise ValueError(
                "checkpoint is for a fit in one process, but this one is of "
                f"{n_processes()}. Use checkpoint=None."
            )
    facts = {
        "(n_channels, n_timepoints) of X": (
            estimator.n_channels_in_,
            estimator.n_timepoints_in_,
        ),
        "The number of dimensions of X": estimator.n_dims_in_,
        "Whether there is a fitted model to go on from": goes_on,
    }
    if goes_on:
        state = estimator.module_.state_dict()
        arrays = [values.cpu().numpy() for values in state.values()]
        scaler = estimator.scaler_
        arrays += [scaler.offset_, scaler.scale_, estimator.latent_scale_]
        facts["The fitted model, as a hash,"] = joblib.hash(arrays)
        memory = estimator.net_.memory_
        facts["What is remembered of signals, as a hash,"] = memory and joblib.hash(
            (memory.X, memory.y, memory.n_seen)
        )
    for name, value in estimator.get_params(deep=False).items():
        if name not in OWN_OF_A_PROCESS:
            facts[name] = repr(value)
    refuse_differences(facts)
