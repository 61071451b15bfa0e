"""Private parts of scikit-learn, and parts that only newer versions have."""

from sklearn.base import _fit_context as fit_context
from sklearn.preprocessing._data import _is_constant_feature as is_constant_feature
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils._set_output import _get_container_adapter as container_adapter
from sklearn.utils.fixes import parse_version

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:
        """Nothing, because scikit-learn before 1.9 has no callbacks."""


OUTPUT_CONFIG = "_sklearn_output_config"  # the attribute that `set_output` sets


def callback_context(estimator):
    """Set up the callbacks of a fit and return its context, or None."""
    if hasattr(estimator, "_init_callback_context"):
        return estimator._init_callback_context(max_subtasks=None)


def has_callbacks(estimator):
    return hasattr(estimator, "_skl_callbacks")
