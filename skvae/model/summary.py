"""The layers of a network as a table."""

import functools

import torch
from torch import nn

from skvae.threads import plain_torch


class Summary(list):
    """Layers of a network: tuples ``(name, output_shape, n_parameters)``.

    Prints as a table, with the totals of the parts and what the networks make.

    Parameters
    ----------
    network_share : dict of float
        See `ConvVAETransformer`.
    """

    def __init__(self, network_share):
        super().__init__()
        self.network_share = network_share

    def __repr__(self):
        totals = {}
        for name, _, n_parameters in self:
            part = name.split(".")[0].split()[0]
            totals[part] = totals.get(part, 0) + n_parameters
        table = [
            ["Layer", "Output shape", "Parameters"],
            *([name, str(shape), f"{n:,}"] for name, shape, n in self),
            *([part, "", f"{n:,}"] for part, n in totals.items()),
            ["total", "", f"{sum(totals.values()):,}"],
        ]
        a, b, c = (max(map(len, column)) for column in zip(*table, strict=True))
        lines = [f"{row[0]:<{a}}  {row[1]:<{b}}  {row[2]:>{c}}" for row in table]
        for i in (len(self) + 1, 1):
            lines.insert(i, "-" * len(lines[0]))
        shares = [f"{share:.1%} of the {x}" for x, share in self.network_share.items()]
        if shares:  # files of older versions have none
            lines.append(f"From networks: {', '.join(shares)}")
        return "\n".join(lines)


@plain_torch()
@torch.no_grad()
def summarize(module, n_channels, n_timepoints, network_share):
    """`Summary` of a `ConvVAE` in evaluation mode, in the order of use.

    Its names are those in the module, with the type; its shapes those of a sample's
    output, (channels, timepoints) after a convolution; its numbers those of weights
    and biases.
    """
    rows = Summary(network_share)

    def add(name, layer, inputs, output):
        n_outputs, *lengths = output.shape[1:]  # a convolution's is (c, 1, t)
        n_parameters = sum(parameter.numel() for parameter in layer.parameters())
        name = f"{name} ({type(layer).__name__})"
        rows.append((name, (n_outputs, *lengths[-1:]), n_parameters))

    hooks = [
        layer.register_forward_hook(functools.partial(add, name))
        for name, layer in named_layers(module)
        if layer is not module.gaps  # which is no layer
    ]
    device = next(module.parameters()).device
    x = torch.zeros(1, n_channels, n_timepoints, dtype=torch.float32, device=device)
    z_mean, _ = module.encode(x)
    module.decode(z_mean)
    if module.head is not None:
        module.head(z_mean)
    for hook in hooks:
        hook.remove()
    return rows


def named_layers(module, prefix=""):
    """Yield the layers in a module, with their names: what has weights or no parts."""
    for name, child in module.named_children():
        if list(child.children()) and not list(child.parameters(recurse=False)):
            yield from named_layers(child, f"{prefix}{name}.")
        elif not isinstance(child, (nn.Identity, nn.Sequential)):  # nothing to do
            yield prefix + name, child
