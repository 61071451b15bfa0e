"""Fitted estimators in files and pickles."""

from sklearn.utils.validation import check_is_fitted

from skvae.saving import files
from skvae.scaling import ChannelScaler
from skvae.sklearn_private import OUTPUT_CONFIG
from skvae.threads import plain_torch
from skvae.training.memory import Memory
from skvae.training.net import VAENet, load_optimizer

PICKLE_FORMATS = 2, 3  # the last one is written


class SavingMixin:
    """`save` and `load` of an estimator, and the versions in its pickles."""

    def save(self, path, *, training=False):
        """Write the fitted estimator to a file without code, which `load` reads.

        The file has a checksum. Metadata requests and callbacks are not in it.

        Parameters
        ----------
        path : str or os.PathLike
            A safetensors file, replaced in one step.
        training : bool
            Whether to write the state with which `partial_fit` and `warm_start`
            continue to the same bits: that of the optimizer, and a few MB of signals
            and sums. Without this state, as after a pickle, they train only the
            decoder.

        Raises
        ------
        NotFittedError
        TypeError
            If a parameter is not plain data, such as objects in `callbacks`. Use pickle
            or joblib for those.
        """
        check_is_fitted(self)
        fitted = {
            name: value
            for name, value in vars(self).items()
            if name.endswith("_") or name == OUTPUT_CONFIG
        }
        net = fitted.pop("net_")
        has_optimizer = training and net.optimizer_ is not None
        kept = ("module__", "criterion__", *(("optimizer", "lr") * has_optimizer))
        content = {
            "parameters": self.get_params(deep=False),
            "fitted": {**fitted, "scaler_": vars(self.scaler_)},
            "net": net.params_of(*kept),
            "history": net.epoch_rows(),
            "module": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict() if has_optimizer else None,
            "memory": net.memory_._asdict() if training and net.memory_ else None,
        }
        files.write(path, "estimator", content)

    @classmethod
    def load(cls, path):
        """Read an estimator that `save` wrote, without running code of the file.

        Parameters
        ----------
        path : str or os.PathLike

        Returns
        -------
        ConvVAETransformer
            Fitted. It transforms with the same bits as the saved one.

        Raises
        ------
        FileNotFoundError
        ValueError
            If the file is a pickle, truncated, changed in any byte, written by a newer
            version, or of an unknown format or unknown parameters.

        Warns
        -----
        UserWarning
            If other versions of skvae, PyTorch, scikit-learn or skorch wrote the file.
        """
        return read_estimator(cls, path)

    def __getstate__(self):
        versions = {"_versions": files.versions(), "_format": PICKLE_FORMATS[-1]}
        return super().__getstate__() | versions

    def __setstate__(self, state):
        written, pickle_format = state.pop("_versions", {}), state.pop("_format", None)
        if "net_" in state and pickle_format not in PICKLE_FORMATS:
            raise ValueError(
                f"This {type(self).__name__} was pickled by skvae "
                f"{written.get('skvae', 'of an older version')}. This version does not "
                "read its fitted models. Install that version, or fit anew."
            )
        files.warn_if_versions_differ(f"A pickled {type(self).__name__}", written)
        super().__setstate__(state)


@plain_torch()
def read_estimator(cls, path):
    """The body of `SavingMixin.load`, which Dask pickles by value: not decorated."""
    content = files.read(path, "estimator")
    unknown = sorted(content["parameters"].keys() - cls().get_params())
    if unknown:
        raise ValueError(
            f"{path} has the parameters {unknown}, which this version of skvae "
            "does not know. Load it with the version that wrote it."
        )
    estimator = cls(**content["parameters"])
    net = VAENet.restored(content["net"], content["module"], content["history"])
    if net.optimizer_ is not None:
        load_optimizer(net.optimizer_, content["optimizer"])
    if content["memory"] is not None:
        net.memory_ = Memory.of(content["memory"])
    scaler = ChannelScaler(None)
    vars(scaler).update(content["fitted"]["scaler_"])
    vars(estimator).update(content["fitted"] | {"scaler_": scaler, "net_": net})
    return estimator
