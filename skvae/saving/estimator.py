"""Save and load fitted estimators without pickle."""

from sklearn.utils.validation import check_is_fitted

from skvae.model.network import ConvVAE
from skvae.model.objective import Objective
from skvae.saving import files
from skvae.scaling import ChannelScaler
from skvae.threads import forked_random_state, plain_torch
from skvae.training.memory import Memory
from skvae.training.net import VAENet, load_optimizer


def save(estimator, path, *, training=False):
    """Write the fitted estimator to a file that `load` reads, without pickle.

    The file holds data and no code: weights, parameters, scaling, classes, feature
    names, history and versions, under a checksum. Of the estimator's class it keeps
    nothing, of an optimizer the name, one of `torch.optim`.

    Parameters
    ----------
    path : str or os.PathLike
        A safetensors file; it is replaced in one step.
    training : bool
        Keep what `partial_fit` and `warm_start` need to go on to the same bits: the
        optimizer's state, and up to some MB of signals and of sums over all of them.
        Without it, as after a pickle, they train the decoder alone.

    Raises
    ------
    NotFittedError
    TypeError
        If a parameter is not plain data, as the objects in `callbacks` are; pickle
        and joblib take those.
    """
    check_is_fitted(estimator)
    parameters = estimator.get_params(deep=False)
    # Requests of metadata routing and callbacks are objects; their place is the script.
    fitted = {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") or name == "_sklearn_output_config"
    }
    net = fitted.pop("net_")
    kept = ("module__", "criterion__")
    memory = net.memory_ if training else None
    training = training and net.optimizer_ is not None
    if training:
        kept += ("optimizer", "lr")
    net_parameters = {
        name: value
        for name, value in net.get_params(deep=False).items()
        if name.startswith(kept)
    }
    content = {
        "parameters": parameters,
        "fitted": {**fitted, "scaler_": vars(estimator.scaler_)},
        "net": net_parameters,
        "history": net.epoch_rows(),
        "module": net.module_.state_dict(),
        "optimizer": net.optimizer_.state_dict() if training else None,
        "memory": memory and memory._asdict(),
    }
    files.write(path, "estimator", content)


@plain_torch()
def load(estimator_class, path):
    """Read an estimator that `save` wrote. No code from the file is run.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    ConvVAETransformer
        Fitted. It transforms with the same bits as the one that was saved;
        `partial_fit` and `warm_start` go on from it, see `save`.

    Raises
    ------
    FileNotFoundError
    ValueError
        If the file is a pickle, truncated, changed in any byte, written by a newer
        version, of an unknown format, or has parameters that this version does not
        know.

    Warns
    -----
    UserWarning
        If other versions of skvae, PyTorch, scikit-learn or skorch wrote it.
    """
    content = files.read(path, "estimator")
    known = estimator_class().get_params()
    unknown = sorted(content["parameters"].keys() - known)
    if unknown:
        raise ValueError(
            f"{path} has the parameters {unknown}, which this version of skvae does "
            "not know. Load it with the version that wrote it, or a newer one."
        )
    estimator = estimator_class(**content["parameters"])
    parameters = {"train_split": None, "verbose": 0, "optimizer": None}
    net = VAENet(ConvVAE, Objective, **parameters | content["net"])
    with forked_random_state(0):  # the weights drawn here are replaced
        net.initialize()
    net.module_.load_state_dict(content["module"])
    net.module_.eval()
    if net.optimizer_ is not None:
        load_optimizer(net.optimizer_, content["optimizer"])
    if content["memory"] is not None:
        net.memory_ = Memory.of(content["memory"])
    net.history.extend(content["history"])
    fitted = content["fitted"]
    scaler = ChannelScaler(None)
    vars(scaler).update(fitted["scaler_"])
    vars(estimator).update({**fitted, "scaler_": scaler, "net_": net})
    return estimator
