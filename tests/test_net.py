"""The skorch net: a plain loop, its batches, its history, and when it stops."""

import copy
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skorch.callbacks import Callback, EarlyStopping
from skorch.utils import noop
from torch.distributions import Independent, Normal, kl_divergence

from skvae import ConvVAETransformer
from skvae.model.layers import SameConvTranspose, same_padding


class Recorder(Callback):
    """Keeps what the network reads and its targets, epoch by epoch."""

    def on_train_begin(self, net, **kwargs):
        self.inputs_, self.signals_ = [], []

    def on_epoch_begin(self, net, **kwargs):
        self.inputs_.append([])
        self.signals_.append([])

    def on_batch_end(self, net, batch, **kwargs):
        h, (x,) = batch
        self.inputs_[-1].append(h.clone())
        self.signals_[-1].append(x.clone())


def recorded(vae):
    return dict(vae.net_.callbacks_)["recorder"]


@pytest.mark.parametrize("linear_path", [False, True])
def test_fit_shuffles_anew_each_epoch_and_leaves_nothing_out(waves, linear_path):
    """But a fifth of the signals where there is a closed form, which test training."""
    vae = ConvVAETransformer(
        2,
        max_epochs=3,
        linear_path=linear_path,
        scale=None,
        batch_size=16,
        callbacks=[("recorder", Recorder())],
        random_state=0,
    ).fit(waves)
    epochs = [torch.cat(xs)[:, 0] for xs in recorded(vae).signals_]
    X = torch.from_numpy(waves)
    if linear_path:
        is_trained = torch.cdist(X, epochs[0]).min(dim=1).values < 1e-2
        assert is_trained.sum() == 160
        X = X[is_trained]
    for epoch in epochs:
        assert not torch.equal(epoch, X)
        assert torch.equal(epoch.sort(dim=0).values, X.sort(dim=0).values)
        # Not a block or two turned around either: neighbours are far from another.
        order = torch.cdist(epoch, X).argmin(dim=1)
        assert len(order.unique()) == len(X)
        assert (order.diff().abs() > 10).float().mean() > 0.7
    for first, second in itertools.combinations(epochs, 2):
        assert (first == second).all(dim=1).float().mean() < 0.1


# A plain loop


class Losses(Recorder):
    """Records losses too, and seeds the draws of each batch with its number."""

    def on_train_begin(self, net, **kwargs):
        super().on_train_begin(net, **kwargs)
        self.losses_ = []
        self.start_ = copy.deepcopy(net.module_)

    def on_batch_begin(self, net, batch, **kwargs):
        torch.manual_seed(len(self.losses_))

    def on_batch_end(self, net, loss, **kwargs):
        super().on_batch_end(net, **kwargs)
        self.losses_.append(loss.detach())

    def on_train_end(self, net, **kwargs):
        self.end_ = copy.deepcopy(net.module_)


def plain_encoder(encoder, x):
    h = x
    for layer in encoder.convolutions:
        if isinstance(layer, torch.nn.Conv2d):
            stride, size = layer.stride[1], layer.kernel_size[1]
            h = F.pad(h, same_padding(h.shape[2], size, stride))
            h = F.conv1d(h, layer.weight[:, :, 0], layer.bias, stride=stride)
        elif isinstance(layer, torch.nn.BatchNorm2d):
            h = batch_norm(h, layer)
        else:
            h = h.clamp(min=0)
    h = plain_dense(encoder.hidden, h.transpose(1, 2).flatten(1))
    return plain_dense([encoder.z_mean], h), plain_dense([encoder.z_log_var], h)


def plain_correction(encoder, components):
    """The encoder of the linear path: the components are not trained."""
    h = plain_dense(encoder.correction.hidden, components)
    linear = encoder.shrinkage * components[:, : len(encoder.shrinkage)]
    z_mean = linear + plain_dense([encoder.correction.z_mean], h)
    return z_mean, encoder.z_log_var.expand_as(z_mean)


def plain_decoder(decoder, z):
    h = plain_dense(decoder.hidden, z)
    h = h.unflatten(1, decoder.start).transpose(1, 2)
    for layer in [*decoder.convolutions, decoder.output]:
        if isinstance(layer, SameConvTranspose):
            size, stride = layer.kernel_size[1], layer.stride[1]
            left, _ = same_padding(layer.n_timepoints, size, stride)
            h = F.conv_transpose1d(h, layer.weight[:, :, 0], layer.bias, stride=stride)
            h = F.pad(h, (0, max(0, left + layer.n_timepoints - h.shape[2])))
            h = h[:, :, left : left + layer.n_timepoints]
        elif isinstance(layer, torch.nn.BatchNorm2d):
            h = batch_norm(h, layer)
        else:
            h = h.clamp(min=0)
    if decoder.linear is not None:
        h = h + plain_dense([decoder.linear], z).unflatten(1, decoder.shape)
    return h


def plain_dense(layers, h):
    for layer in layers:
        if isinstance(layer, torch.nn.Linear):
            h = h @ layer.weight.T + layer.bias
        elif isinstance(layer, torch.nn.Dropout):  # draws as the fit did
            h = layer(h)
        else:
            h = h.clamp(min=0)
    return h


def batch_norm(h, layer):
    mean, variance = h.mean(dim=(0, 2)), h.var(dim=(0, 2), unbiased=False)
    h = (h - mean[:, None]) / (variance[:, None] + layer.eps).sqrt()
    return h * layer.weight[:, None] + layer.bias[:, None]


@pytest.mark.parametrize("reconstruction_weight", [3.0, "auto"])
@pytest.mark.parametrize("linear_path", [False, True])
def test_training_is_that_of_a_plain_loop_step_by_step(
    waves, linear_path, reconstruction_weight
):
    """In the same order, from the same weights, with the same draws of the latents."""
    lr = 1e-3
    vae = ConvVAETransformer(
        2,
        reconstruction_weight=reconstruction_weight,
        scale=None,
        linear_path=linear_path,
        batch_norm=True,
        dropout=0.2 if linear_path else 0.0,
        lr=lr,
        batch_size=16,
        max_epochs=4,
        net_params={"lr_schedule": None, "module__correct_mean": True},
        callbacks=[("recorder", Losses())],
        random_state=0,
    ).fit(waves[:96])
    ours = recorded(vae)

    module = ours.start_.train()
    encoder, decoder = module.encoder, module.decoder
    first_output = decoder.output.weight.detach().clone()
    slow = [] if decoder.linear is None else list(decoder.linear.parameters())
    fixed = [] if not linear_path else list(encoder.components.parameters())
    others = {id(parameter) for parameter in slow + fixed}
    rest = [p for p in module.parameters() if id(p) not in others]
    groups = [{"params": rest, "lr": lr}, {"params": slow, "lr": lr / 10}]
    betas = (0.8, 0.99) if linear_path else (0.9, 0.999)
    groups = groups[: 1 + bool(slow)]
    optimizer = torch.optim.Adam(groups, betas=betas, foreach=False)
    losses = []
    inputs, signals = (
        itertools.chain(*epochs) for epochs in (ours.inputs_, ours.signals_)
    )
    for h, x in zip(inputs, signals, strict=True):
        torch.manual_seed(len(losses))
        encode = plain_correction if linear_path else plain_encoder
        z_mean, z_log_var = encode(encoder, h)
        z = z_mean + (0.5 * z_log_var).exp() * torch.randn_like(z_mean)
        sse = (plain_decoder(decoder, z) - x).square().sum(dim=(1, 2))
        kl = 0.5 * (z_mean**2 + z_log_var.exp() - 1 - z_log_var).sum(dim=1)
        n_values = x[0].numel()
        if reconstruction_weight == "auto":  # what is left of log p(x|z) at its best
            reconstruction = n_values / 2 * sse.mean().log()
            reconstruction = reconstruction + n_values / 2 * (
                1 + np.log(2 * np.pi / n_values)
            )
        else:
            reconstruction = 3.0 * sse.mean() - n_values / 2 * np.log(3.0 / np.pi)
        loss = reconstruction + kl.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    torch.testing.assert_close(
        torch.stack(ours.losses_), torch.stack(losses), rtol=2e-4, atol=1e-3
    )
    # Farther than the tolerance below.
    assert (decoder.output.weight - first_output).abs().max() > 3e-3
    for name, value in module.named_parameters():
        trained = ours.end_.get_parameter(name)
        torch.testing.assert_close(trained, value, rtol=1e-2, atol=1e-4)


class PyTorchsAdam(torch.optim.Adam):
    """As PyTorch has it: a class of the user's is used as it is."""


def test_adam_has_the_bits_of_pytorchs(waves):
    estimators = []
    for optimizer in (torch.optim.Adam, PyTorchsAdam):
        net_params = {"optimizer": optimizer, "optimizer__weight_decay": 0.01}
        if optimizer is PyTorchsAdam:  # which would have its own betas
            net_params["optimizer__betas"] = (0.8, 0.99)
        vae = ConvVAETransformer(
            2, max_epochs=2, random_state=0, device="cpu", net_params=net_params
        )
        estimators.append(vae.fit(waves).partial_fit(waves[:50]))
    optimizers = [vae.net_.optimizer_ for vae in estimators]
    assert isinstance(optimizers[0], torch.optim.Adam)
    assert optimizers[0].step.__func__ is not optimizers[1].step.__func__
    ours, theirs = (optimizer.state_dict() for optimizer in optimizers)
    assert ours["param_groups"] == theirs["param_groups"]
    torch.testing.assert_close(ours["state"], theirs["state"], rtol=0, atol=0)
    for a, b in zip(*(vae.module_.parameters() for vae in estimators), strict=True):
        assert torch.equal(a, b)


# The terms


class Terms(Callback):
    """The loss of each step, made anew from the network's output."""

    def on_train_begin(self, net, **kwargs):
        self.ours_, self.reconstruction_, self.kl_ = [], [], []

    @torch.no_grad()
    def on_batch_end(self, net, batch, loss, y_pred, **kwargs):
        (_, (x,)), (x_hat, z_mean, z_log_var) = batch, y_pred
        density = Independent(Normal(x_hat, 0.5**0.5 / 2), 2)  # weight 4
        posterior = Normal(z_mean, (0.5 * z_log_var).exp())
        kl = kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1)
        self.ours_.append(float(loss.detach()))
        self.reconstruction_.append(float(-density.log_prob(x).mean()))
        self.kl_.append(float(kl.mean()))


@pytest.mark.parametrize("kl_warmup", [0.0, 0.5, 1.0])
def test_beta_ramps_up_in_the_warm_up(waves, kl_warmup):
    """What the KL costs in each of 4 x 5 steps, by the loss that was minimised."""
    vae = ConvVAETransformer(
        2,
        linear_path=False,
        beta=3.0,
        reconstruction_weight=4.0,
        batch_size=40,
        max_epochs=4,
        net_params={"kl_warmup": kl_warmup},
        callbacks=[("terms", Terms())],
        random_state=0,
    ).fit(waves)
    terms = dict(vae.net_.callbacks_)["terms"]
    cost = np.subtract(terms.ours_, terms.reconstruction_)
    ramp = np.minimum(1.0, np.arange(20) / max(20 * kl_warmup, 1e-9))
    if not kl_warmup:
        ramp[:] = 1.0
    np.testing.assert_allclose(cost, 3.0 * ramp * terms.kl_, rtol=1e-3, atol=2e-3)
    assert min(terms.kl_) > 0.05
    # The history is at the full beta, so that its epochs compare.
    history = vae.history_
    np.testing.assert_allclose(
        history["train_loss"],
        history["train_reconstruction"] + 3.0 * history["train_kl"],
        rtol=1e-5,
    )


def test_history_is_that_of_all_samples_not_of_the_last_batch(waves):
    """With frozen weights an epoch's terms are those of one pass in one batch."""
    params = {
        "lr": 1e-30,
        "max_epochs": 1,
        "random_state": 0,
        "net_params": {"lr_schedule": None},
    }
    small = ConvVAETransformer(2, batch_size=33, **params).fit(waves).history_
    whole = ConvVAETransformer(2, batch_size=200, **params).fit(waves).history_
    np.testing.assert_allclose(small["train_kl"], whole["train_kl"], rtol=1e-4)
    assert small["train_kl"] == pytest.approx(small["train_kl_per_dim"].sum())


@pytest.mark.filterwarnings("ignore:y ")
def test_the_host_reads_the_device_once_an_epoch(waves, monkeypatch):
    """Each read waits for all that a GPU has been given to do.

    Counted on a CPU by the methods that read; not tested here: that no operation of
    PyTorch's own waits on a GPU.
    """
    n_reads = []
    for name in ("item", "__float__", "__bool__", "tolist", "numpy", "cpu", "nonzero"):
        original = getattr(torch.Tensor, name)

        def read(self, *args, original=original):
            n_reads.append(1)
            return original(self, *args)

        monkeypatch.setattr(torch.Tensor, name, read)

    def count(batch_size):
        n_reads.clear()
        vae = ConvVAETransformer(2, batch_size=batch_size, max_epochs=1)
        vae.set_params(linear_path=False, label_weight=1.0, random_state=0)
        vae.fit(waves[:160], np.arange(160) % 3 - 1)
        return len(n_reads)

    assert count(4) == count(8) == count(160)


# Held back


def test_early_stopping_holds_the_fraction_back(waves):
    vae = ConvVAETransformer(
        2,
        early_stopping=True,
        validation_fraction=0.3,
        max_epochs=2,
        linear_path=False,
        scale=None,
        callbacks=[("recorder", Recorder())],
        random_state=0,
    ).fit(waves)
    X, signals = torch.from_numpy(waves), []
    for xs in recorded(vae).signals_:  # an epoch's batches and then its validation's
        seen = torch.cat(xs)[:, 0]
        assert torch.equal(seen.sort(dim=0).values, X.sort(dim=0).values)
        signals.append([part.sort(dim=0).values for part in seen.split(140)])
    for first, second in zip(*signals, strict=True):
        assert torch.equal(first, second)


def test_early_stopping_stops_and_restores_the_best_epoch(waves):
    """Against an equal net trained for exactly `best_epoch_` epochs."""
    params = {
        "random_state": 0,
        "early_stopping": True,
        "lr": 0.02,
        "net_params": {"lr_schedule": None},
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


def test_the_best_epoch_is_that_of_any_callback_that_restores_it(waves):
    stopping = EarlyStopping(
        "train_loss",
        patience=2,
        threshold=0.5,
        threshold_mode="abs",
        load_best=True,
        sink=noop,
    )
    vae = ConvVAETransformer(
        2, max_epochs=60, callbacks=[stopping], random_state=0
    ).fit(waves)
    assert vae.n_epochs_ == vae.best_epoch_ + 2 < 60


def test_early_stopping_waits_for_the_warm_up(waves):
    def n_epochs(kl_warmup):
        vae = ConvVAETransformer(
            2,
            early_stopping=True,
            patience=1,
            lr=0.1,
            max_epochs=20,
            net_params={"lr_schedule": None, "kl_warmup": kl_warmup},
            random_state=0,
        ).fit(waves)
        return vae.n_epochs_

    assert n_epochs(0.0) < 16 <= n_epochs(0.8)


# Divergence


def test_divergence_raises_with_advice_and_leaves_nothing_fitted(waves):
    vae = ConvVAETransformer(2, lr=1e20, net_params={"lr_schedule": None}, max_epochs=5)
    with pytest.raises(FloatingPointError, match=r"epoch.*Lower lr"):
        vae.fit(waves)
    assert not vae.__sklearn_is_fitted__()
    assert vars(vae) == vars(ConvVAETransformer(**vae.get_params()))
