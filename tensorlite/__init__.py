"""tensorlite: a deep-learning framework one person can read, on the CPU, exact to the bit.

The names are PyTorch's. This module only gathers them; each is defined where the map in README.md
says.
"""

from tensorlite import autograd as autograd
from tensorlite.autograd import (
    enable_grad as enable_grad,
)
from tensorlite.autograd import (
    inference_mode as inference_mode,
)
from tensorlite.autograd import (
    is_grad_enabled as is_grad_enabled,
)
from tensorlite.autograd import (
    is_inference_mode_enabled as is_inference_mode_enabled,
)
from tensorlite.autograd import (
    no_grad as no_grad,
)
from tensorlite.autograd import (
    set_grad_enabled as set_grad_enabled,
)
from tensorlite.creation import (
    arange as arange,
)
from tensorlite.creation import (
    as_tensor as as_tensor,
)
from tensorlite.creation import (
    asarray as asarray,
)
from tensorlite.creation import (
    empty as empty,
)
from tensorlite.creation import (
    empty_like as empty_like,
)
from tensorlite.creation import (
    eye as eye,
)
from tensorlite.creation import (
    from_numpy as from_numpy,
)
from tensorlite.creation import (
    full as full,
)
from tensorlite.creation import (
    full_like as full_like,
)
from tensorlite.creation import (
    linspace as linspace,
)
from tensorlite.creation import (
    logspace as logspace,
)
from tensorlite.creation import (
    ones as ones,
)
from tensorlite.creation import (
    ones_like as ones_like,
)
from tensorlite.creation import (
    tensor as tensor,
)
from tensorlite.creation import (
    tril_indices as tril_indices,
)
from tensorlite.creation import (
    triu_indices as triu_indices,
)
from tensorlite.creation import (
    zeros as zeros,
)
from tensorlite.creation import (
    zeros_like as zeros_like,
)
from tensorlite.device import device as device
from tensorlite.dtypes import (
    bool as bool,
)
from tensorlite.dtypes import (
    dtype as dtype,
)
from tensorlite.dtypes import (
    float32 as float32,
)
from tensorlite.dtypes import (
    float64 as float64,
)
from tensorlite.dtypes import (
    get_default_dtype as get_default_dtype,
)
from tensorlite.dtypes import (
    int32 as int32,
)
from tensorlite.dtypes import (
    int64 as int64,
)
from tensorlite.dtypes import (
    set_default_dtype as set_default_dtype,
)
from tensorlite.dtypes import (
    uint8 as uint8,
)
from tensorlite.ops import *  # noqa: F403
from tensorlite.printing import set_printoptions as set_printoptions
from tensorlite.tensor import Size as Size
from tensorlite.tensor import Tensor as Tensor

float = float32
double = float64
int = int32
long = int64

__version__ = "0.1.0"
