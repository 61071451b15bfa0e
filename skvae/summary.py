"""The layers of a fitted network as a table."""

from functools import partial

import torch
from torch import nn

from skvae.threads import plain_torch


class Summary(list):
    """Layers as tuples ``(name, output_shape, n_parameters)``, printed as a table.

    Its last line is the `network_share` of `ConvVAETransformer`.
    """

    def __init__(self, layers, network_share):
        super().__init__(layers)
        self.network_share = network_share

    def __repr__(self):
        totals = {}
        for name, _, n_parameters in self:
            part = name.split(".")[0].split()[0]
            totals[part] = totals.get(part, 0) + n_parameters
        totals["total"] = sum(totals.values())
        table = [
            ("Layer", "Output shape", "Parameters"),
            *((name, str(shape), f"{n:,}") for name, shape, n in self),
            *((part, "", f"{n:,}") for part, n in totals.items()),
        ]
        a, b, c = (max(map(len, column)) for column in zip(*table, strict=True))
        lines = [f"{x:<{a}}  {y:<{b}}  {z:>{c}}" for x, y, z in table]
        for i in (len(self) + 1, 1):
            lines.insert(i, "-" * len(lines[0]))
        shares = [f"{share:.1%} of the {x}" for x, share in self.network_share.items()]
        return "\n".join([*lines, f"From networks: {', '.join(shares)}"])


@plain_torch()
@torch.no_grad()
def summarize(module, n_channels, n_timepoints, network_share):
    """`Summary` of a `ConvVAE` in evaluation mode, with its layers in order of use."""
    layers = []

    def add(name, layer, inputs, output):
        n_outputs, *lengths = output.shape[1:]  # a convolution's is (c, 1, t)
        n_parameters = sum(parameter.numel() for parameter in layer.parameters())
        name = f"{name} ({type(layer).__name__})"
        layers.append((name, (n_outputs, *lengths[-1:]), n_parameters))

    hooks = [
        layer.register_forward_hook(partial(add, name))
        for name, layer in module.named_modules()
        if is_layer(layer) and layer is not module.gaps
    ]
    x = torch.zeros(1, n_channels, n_timepoints, dtype=torch.float32)
    z_mean, _ = module.encode(x.to(next(module.parameters()).device))
    module.decode(z_mean)
    if module.head is not None:
        module.head(z_mean)
    for hook in hooks:
        hook.remove()
    return Summary(layers, network_share)


def is_layer(module):
    """Whether a module has weights of its own, or computes something without parts."""
    if next(module.parameters(recurse=False), None) is not None:
        return True
    is_trivial = isinstance(module, (nn.Identity, nn.Sequential, nn.ZeroPad2d))
    return not is_trivial and not list(module.children())
