"""tensorlite: a deep-learning framework one person can read, on the CPU, exact to the bit.

The names are PyTorch's. This module only gathers them.
"""

from math import inf as inf, nan as nan, pi as pi

# First, so that the name tensorlite.tensor is the function below and not this module.
from tensorlite.tensor import Tensor as Tensor  # isort: split

from tensorlite import autograd as autograd, profiler as profiler
from tensorlite.autograd import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    is_grad_enabled as is_grad_enabled,
    is_inference_mode_enabled as is_inference_mode_enabled,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from tensorlite.autograd.watch import CaptureError as CaptureError
from tensorlite.capture import Capture as Capture
from tensorlite.creation import (
    arange as arange,
    as_tensor as as_tensor,
    asarray as asarray,
    empty as empty,
    empty_like as empty_like,
    eye as eye,
    from_numpy as from_numpy,
    full as full,
    full_like as full_like,
    linspace as linspace,
    logspace as logspace,
    ones as ones,
    ones_like as ones_like,
    tensor as tensor,
    tril_indices as tril_indices,
    triu_indices as triu_indices,
    zeros as zeros,
    zeros_like as zeros_like,
)
from tensorlite.device import device as device
from tensorlite.dtypes import (
    bool as bool,
    dtype as dtype,
    float32 as float32,
    float64 as float64,
    get_default_dtype as get_default_dtype,
    int32 as int32,
    int64 as int64,
    set_default_dtype as set_default_dtype,
    uint8 as uint8,
)
from tensorlite.generator import Generator as Generator
from tensorlite.kernels.jit import (
    get_num_threads as get_num_threads,
    set_num_threads as set_num_threads,
)
from tensorlite.ops.activation import (
    erf as erf,
    relu as relu,
    sigmoid as sigmoid,
    tanh as tanh,
)
from tensorlite.ops.along import (
    gather as gather,
    scatter as scatter,
    scatter_add as scatter_add,
    take_along_dim as take_along_dim,
)
from tensorlite.ops.compare import (
    addcdiv as addcdiv,
    addcmul as addcmul,
    allclose as allclose,
    bitwise_and as bitwise_and,
    bitwise_not as bitwise_not,
    bitwise_or as bitwise_or,
    bitwise_xor as bitwise_xor,
    clamp as clamp,
    clip as clip,
    eq as eq,
    equal as equal,
    ge as ge,
    gt as gt,
    isclose as isclose,
    isfinite as isfinite,
    isinf as isinf,
    isnan as isnan,
    le as le,
    lerp as lerp,
    logical_and as logical_and,
    logical_not as logical_not,
    logical_or as logical_or,
    logical_xor as logical_xor,
    lt as lt,
    masked_fill as masked_fill,
    maximum as maximum,
    minimum as minimum,
    nan_to_num as nan_to_num,
    ne as ne,
)
from tensorlite.ops.convert import (
    clone as clone,
)
from tensorlite.ops.elementwise import (
    abs as abs,
    add as add,
    ceil as ceil,
    div as div,
    exp as exp,
    exp2 as exp2,
    expm1 as expm1,
    floor as floor,
    floor_divide as floor_divide,
    fmod as fmod,
    log as log,
    log1p as log1p,
    log2 as log2,
    log10 as log10,
    mul as mul,
    neg as neg,
    pow as pow,
    reciprocal as reciprocal,
    remainder as remainder,
    round as round,
    rsqrt as rsqrt,
    sign as sign,
    sqrt as sqrt,
    square as square,
    sub as sub,
    trunc as trunc,
)
from tensorlite.ops.index import (
    argwhere as argwhere,
    index_add as index_add,
    index_copy as index_copy,
    index_fill as index_fill,
    index_select as index_select,
    masked_select as masked_select,
    nonzero as nonzero,
    repeat_interleave as repeat_interleave,
    take as take,
    where as where,
)
from tensorlite.ops.join import (
    cat as cat,
    chunk as chunk,
    diag as diag,
    diagonal as diagonal,
    hstack as hstack,
    narrow as narrow,
    pad as pad,
    split as split,
    stack as stack,
    tensor_split as tensor_split,
    tril as tril,
    triu as triu,
    unbind as unbind,
    vstack as vstack,
)
from tensorlite.ops.linalg import (
    bmm as bmm,
    dot as dot,
    einsum as einsum,
    linear as linear,
    matmul as matmul,
    mm as mm,
    mv as mv,
    outer as outer,
)
from tensorlite.ops.neural import log_softmax as log_softmax, softmax as softmax
from tensorlite.ops.order import (
    argsort as argsort,
    bincount as bincount,
    max as max,
    min as min,
    searchsorted as searchsorted,
    sort as sort,
    topk as topk,
    unique as unique,
)
from tensorlite.ops.reduce import (
    all as all,
    amax as amax,
    amin as amin,
    aminmax as aminmax,
    any as any,
    argmax as argmax,
    argmin as argmin,
    count_nonzero as count_nonzero,
    cumprod as cumprod,
    cumsum as cumsum,
    dist as dist,
    logsumexp as logsumexp,
    mean as mean,
    norm as norm,
    prod as prod,
    std as std,
    std_mean as std_mean,
    sum as sum,
    var as var,
    var_mean as var_mean,
)
from tensorlite.ops.shape import (
    broadcast_to as broadcast_to,
    flatten as flatten,
    flip as flip,
    movedim as movedim,
    permute as permute,
    ravel as ravel,
    reshape as reshape,
    roll as roll,
    squeeze as squeeze,
    swapaxes as swapaxes,
    t as t,
    tile as tile,
    transpose as transpose,
    unflatten as unflatten,
    unsqueeze as unsqueeze,
)
from tensorlite.ops.trigonometry import (
    acos as acos,
    asin as asin,
    atan as atan,
    atan2 as atan2,
    cos as cos,
    cosh as cosh,
    sin as sin,
    sinh as sinh,
    tan as tan,
)
from tensorlite.printing import set_printoptions as set_printoptions
from tensorlite.random import (
    bernoulli as bernoulli,
    get_rng_state as get_rng_state,
    initial_seed as initial_seed,
    manual_seed as manual_seed,
    multinomial as multinomial,
    normal as normal,
    rand as rand,
    rand_like as rand_like,
    randint as randint,
    randint_like as randint_like,
    randn as randn,
    randn_like as randn_like,
    randperm as randperm,
    seed as seed,
    set_rng_state as set_rng_state,
)
from tensorlite.serialization import load as load, save as save
from tensorlite.size import Size as Size

from tensorlite import data as data, nn as nn, optim as optim, testing as testing  # isort: skip
from tensorlite.startup import warmup as warmup  # isort: skip

autograd.gradcheck = testing.gradcheck

float = float32
double = float64
int = int32
long = int64

__version__ = "0.1.0"
