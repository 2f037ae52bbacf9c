"""The tape: ops record themselves as they run, and `backward` walks the record in reverse.

It knows no operator, no kernel and no tensor class. Reading order: graph (what is recorded), op
(how), backward (the walk), function (a user's own op), anomaly.

Three things are done here, once, so that no op ever does them: a gradient is summed back over
broadcast axes, gradients are accumulated (a + b, into one of them only where nobody else holds it),
and what a vjp returned is checked.
"""

from collections.abc import Callable

from tensorlite.autograd.anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from tensorlite.autograd.backward import backward, grad
from tensorlite.autograd.function import Function
from tensorlite.autograd.graph import (
    Addend,
    Array,
    Hook,
    Node,
    RemovableHandle,
    Variable,
    arithmetic,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
    unwrap,
    wrap,
)
from tensorlite.autograd.op import FUNCTIONAL, IN_PLACE, METHODS, OPS, OpError, composed, op

gradcheck: Callable[..., bool]  # testing.gradcheck, which stands above; tensorlite sets it

__all__ = [
    "FUNCTIONAL",
    "IN_PLACE",
    "METHODS",
    "OPS",
    "Addend",
    "Array",
    "Function",
    "Hook",
    "Node",
    "OpError",
    "RemovableHandle",
    "Variable",
    "arithmetic",
    "backward",
    "composed",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "inference_mode",
    "is_anomaly_enabled",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "op",
    "set_detect_anomaly",
    "set_grad_enabled",
    "unwrap",
    "wrap",
]
