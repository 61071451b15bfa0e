"""Fits in a process group of `torch.distributed`.

Each process of the group calls `fit` with its share of the signals, two or more. All
end with the same model, to the bit. Without a group, nothing here does anything. Save
this script as fit.py. Run ``torchrun --nproc-per-node=2 fit.py`` on one machine, or
``torchrun --nnodes=2 --rdzv-backend=c10d --rdzv-endpoint=HOST:29500 fit.py`` on each
of two::

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
"""

import contextlib
import inspect

import joblib
import numpy as np
import torch
import torch.distributed as dist

# Parameters that may differ between the processes of a group.
MAY_DIFFER = {"callbacks", "device", "random_state", "verbose"}


def n_processes():
    """Number of processes in the group, 1 without a group."""
    is_group = dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if is_group else 1


def rank():
    """Number of this process in the group, from 0."""
    return dist.get_rank() if n_processes() > 1 else 0


def from_all(value):
    """List of the objects of all processes, by rank."""
    values = [value] * n_processes()
    if len(values) > 1:
        dist.all_gather_object(values, value)
    return values


def from_first(value):
    """The object of the first process."""
    values = [value]
    if n_processes() > 1:
        dist.broadcast_object_list(values)
    return values[0]


@contextlib.contextmanager
def shared_errors():
    """Raise an error of the block in all processes; the others would wait for ever."""
    error = None
    try:
        yield
    except Exception as raised:
        if n_processes() == 1:
            raise
        error = raised
    for number, raised in enumerate(from_all(error)):
        if raised is not None and number == rank():
            raise error
        if raised is not None:
            raised.args = (f"In process {number}: {raised}",)
            raise raised


def refuse_differences(facts):
    """Raise a ValueError in all processes if their facts, a dict by name, differ."""
    expected, *others = from_all(facts)
    for number, given in enumerate(others, start=1):
        for name, value in given.items():
            if value != expected[name]:
                raise ValueError(
                    f"{name} is {value} in process {number}, but {expected[name]} in "
                    "process 0. All processes of a group fit one model: pass the same "
                    "to each."
                )


def pooled(counts, means, variances):
    """Number, mean and variance (d,) of values (n, d), from those of their parts.

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
    """Average gradients over processes, each weighted by its share of the signals."""
    if n_processes() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = share * torch.cat([gradient.reshape(-1) for gradient in gradients])
    parts = sum_over_processes(flat).split([g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def average_batch_norm(module, share):
    """Pool the running statistics of BatchNorm over all signals."""
    for layer in module.modules() if n_processes() > 1 else []:
        if getattr(layer, "running_mean", None) is not None:
            mean = sum_over_processes(share * layer.running_mean)
            spread = (layer.running_mean - mean).square()
            variance = sum_over_processes(share * (layer.running_var + spread))
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(variance)


def take_from_first(module):
    """Load the weights and buffers of the first process into a module."""
    if n_processes() > 1:
        state = {name: values.cpu() for name, values in module.state_dict().items()}
        module.load_state_dict(from_first(state))


def check_group(estimator, goes_on):
    """Check that all processes fit the same model."""
    if n_processes() == 1:
        return
    with shared_errors():
        callers = (frame.frame.f_globals.get("__name__") for frame in inspect.stack(0))
        if any(str(name).startswith("sklearn.model_selection.") for name in callers):
            raise ValueError(
                "A search or cross-validation runs in a process group, where each "
                "process would score its own share of the signals. Search first, "
                "in one process or on Dask, then fit the best estimator in the group."
            )
        if estimator.checkpoint is not None:
            raise ValueError(
                "checkpoint is for a fit in one process, but this fit runs in "
                f"{n_processes()}. Use checkpoint=None."
            )
    shape = estimator.n_channels_in_, estimator.n_timepoints_in_
    facts = {
        "(n_channels, n_timepoints) of X": shape,
        "The number of dimensions of X": estimator.n_dims_in_,
        "Whether there is a fitted model to go on from": goes_on,
    }
    if goes_on:
        state, scaler = estimator.module_.state_dict(), estimator.scaler_
        fitted = [values.cpu().numpy() for values in state.values()]
        fitted += [scaler.offset_, scaler.scale_, estimator.latent_scale_]
        memory = estimator.net_.memory_
        fitted += [memory.X, memory.y, memory.n_seen] if memory else []
        facts["The fitted model, as a hash,"] = joblib.hash(fitted)
    params = estimator.get_params(deep=False)
    facts |= {k: repr(value) for k, value in params.items() if k not in MAY_DIFFER}
    refuse_differences(facts)
