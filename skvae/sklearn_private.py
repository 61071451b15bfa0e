"""What scikit-learn keeps private, or has only in newer versions, and skvae uses."""

from sklearn.base import _fit_context as fit_context
from sklearn.preprocessing._data import _is_constant_feature as is_constant_feature
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
        """Nothing: scikit-learn before 1.9 has no callbacks."""

        def _init_callback_context(self, **options):
            return None


__all__ = [
    "CallbackSupportMixin",
    "Interval",
    "StrOptions",
    "container_adapter",
    "fit_context",
    "is_constant_feature",
    "parse_version",
    "validate_parameter_constraints",
]
