"""The calculus: every op, its value and its vjp side by side."""

from tensorlite.ops.compare import (
    addcdiv as addcdiv,
)
from tensorlite.ops.compare import (
    addcmul as addcmul,
)
from tensorlite.ops.compare import (
    allclose as allclose,
)
from tensorlite.ops.compare import (
    bitwise_and as bitwise_and,
)
from tensorlite.ops.compare import (
    bitwise_not as bitwise_not,
)
from tensorlite.ops.compare import (
    bitwise_or as bitwise_or,
)
from tensorlite.ops.compare import (
    bitwise_xor as bitwise_xor,
)
from tensorlite.ops.compare import (
    clamp as clamp,
)
from tensorlite.ops.compare import (
    clip as clip,
)
from tensorlite.ops.compare import (
    eq as eq,
)
from tensorlite.ops.compare import (
    equal as equal,
)
from tensorlite.ops.compare import (
    ge as ge,
)
from tensorlite.ops.compare import (
    gt as gt,
)
from tensorlite.ops.compare import (
    isclose as isclose,
)
from tensorlite.ops.compare import (
    isfinite as isfinite,
)
from tensorlite.ops.compare import (
    isinf as isinf,
)
from tensorlite.ops.compare import (
    isnan as isnan,
)
from tensorlite.ops.compare import (
    le as le,
)
from tensorlite.ops.compare import (
    lerp as lerp,
)
from tensorlite.ops.compare import (
    logical_and as logical_and,
)
from tensorlite.ops.compare import (
    logical_not as logical_not,
)
from tensorlite.ops.compare import (
    logical_or as logical_or,
)
from tensorlite.ops.compare import (
    logical_xor as logical_xor,
)
from tensorlite.ops.compare import (
    lt as lt,
)
from tensorlite.ops.compare import (
    masked_fill as masked_fill,
)
from tensorlite.ops.compare import (
    maximum as maximum,
)
from tensorlite.ops.compare import (
    minimum as minimum,
)
from tensorlite.ops.compare import (
    nan_to_num as nan_to_num,
)
from tensorlite.ops.compare import (
    ne as ne,
)
from tensorlite.ops.convert import (
    clone as clone,
)
from tensorlite.ops.elementwise import (
    abs as abs,
)
from tensorlite.ops.elementwise import (
    acos as acos,
)
from tensorlite.ops.elementwise import (
    add as add,
)
from tensorlite.ops.elementwise import (
    asin as asin,
)
from tensorlite.ops.elementwise import (
    atan as atan,
)
from tensorlite.ops.elementwise import (
    atan2 as atan2,
)
from tensorlite.ops.elementwise import (
    ceil as ceil,
)
from tensorlite.ops.elementwise import (
    cos as cos,
)
from tensorlite.ops.elementwise import (
    cosh as cosh,
)
from tensorlite.ops.elementwise import (
    div as div,
)
from tensorlite.ops.elementwise import (
    exp as exp,
)
from tensorlite.ops.elementwise import (
    exp2 as exp2,
)
from tensorlite.ops.elementwise import (
    expm1 as expm1,
)
from tensorlite.ops.elementwise import (
    floor as floor,
)
from tensorlite.ops.elementwise import (
    floor_divide as floor_divide,
)
from tensorlite.ops.elementwise import (
    fmod as fmod,
)
from tensorlite.ops.elementwise import (
    log as log,
)
from tensorlite.ops.elementwise import (
    log1p as log1p,
)
from tensorlite.ops.elementwise import (
    log2 as log2,
)
from tensorlite.ops.elementwise import (
    log10 as log10,
)
from tensorlite.ops.elementwise import (
    mul as mul,
)
from tensorlite.ops.elementwise import (
    neg as neg,
)
from tensorlite.ops.elementwise import (
    pow as pow,
)
from tensorlite.ops.elementwise import (
    reciprocal as reciprocal,
)
from tensorlite.ops.elementwise import (
    remainder as remainder,
)
from tensorlite.ops.elementwise import (
    round as round,
)
from tensorlite.ops.elementwise import (
    rsqrt as rsqrt,
)
from tensorlite.ops.elementwise import (
    sign as sign,
)
from tensorlite.ops.elementwise import (
    sin as sin,
)
from tensorlite.ops.elementwise import (
    sinh as sinh,
)
from tensorlite.ops.elementwise import (
    sqrt as sqrt,
)
from tensorlite.ops.elementwise import (
    square as square,
)
from tensorlite.ops.elementwise import (
    sub as sub,
)
from tensorlite.ops.elementwise import (
    tan as tan,
)
from tensorlite.ops.elementwise import (
    trunc as trunc,
)
from tensorlite.ops.index import (
    argwhere as argwhere,
)
from tensorlite.ops.index import (
    gather as gather,
)
from tensorlite.ops.index import (
    index_add as index_add,
)
from tensorlite.ops.index import (
    index_copy as index_copy,
)
from tensorlite.ops.index import (
    index_fill as index_fill,
)
from tensorlite.ops.index import (
    index_select as index_select,
)
from tensorlite.ops.index import (
    masked_select as masked_select,
)
from tensorlite.ops.index import (
    nonzero as nonzero,
)
from tensorlite.ops.index import (
    scatter as scatter,
)
from tensorlite.ops.index import (
    scatter_add as scatter_add,
)
from tensorlite.ops.index import (
    take as take,
)
from tensorlite.ops.index import (
    take_along_dim as take_along_dim,
)
from tensorlite.ops.index import (
    where as where,
)
from tensorlite.ops.join import (
    cat as cat,
)
from tensorlite.ops.join import (
    chunk as chunk,
)
from tensorlite.ops.join import (
    diag as diag,
)
from tensorlite.ops.join import (
    diagonal as diagonal,
)
from tensorlite.ops.join import (
    hstack as hstack,
)
from tensorlite.ops.join import (
    narrow as narrow,
)
from tensorlite.ops.join import (
    pad as pad,
)
from tensorlite.ops.join import (
    split as split,
)
from tensorlite.ops.join import (
    stack as stack,
)
from tensorlite.ops.join import (
    tensor_split as tensor_split,
)
from tensorlite.ops.join import (
    tril as tril,
)
from tensorlite.ops.join import (
    triu as triu,
)
from tensorlite.ops.join import (
    unbind as unbind,
)
from tensorlite.ops.join import (
    vstack as vstack,
)
from tensorlite.ops.linalg import (
    bmm as bmm,
)
from tensorlite.ops.linalg import (
    dot as dot,
)
from tensorlite.ops.linalg import (
    einsum as einsum,
)
from tensorlite.ops.linalg import (
    linear as linear,
)
from tensorlite.ops.linalg import (
    matmul as matmul,
)
from tensorlite.ops.linalg import (
    mm as mm,
)
from tensorlite.ops.linalg import (
    mv as mv,
)
from tensorlite.ops.linalg import (
    outer as outer,
)
from tensorlite.ops.order import (
    argsort as argsort,
)
from tensorlite.ops.order import (
    bincount as bincount,
)
from tensorlite.ops.order import (
    searchsorted as searchsorted,
)
from tensorlite.ops.order import (
    sort as sort,
)
from tensorlite.ops.order import (
    topk as topk,
)
from tensorlite.ops.order import (
    unique as unique,
)
from tensorlite.ops.reduce import (
    all as all,
)
from tensorlite.ops.reduce import (
    amax as amax,
)
from tensorlite.ops.reduce import (
    amin as amin,
)
from tensorlite.ops.reduce import (
    aminmax as aminmax,
)
from tensorlite.ops.reduce import (
    any as any,
)
from tensorlite.ops.reduce import (
    argmax as argmax,
)
from tensorlite.ops.reduce import (
    argmin as argmin,
)
from tensorlite.ops.reduce import (
    count_nonzero as count_nonzero,
)
from tensorlite.ops.reduce import (
    cumprod as cumprod,
)
from tensorlite.ops.reduce import (
    cumsum as cumsum,
)
from tensorlite.ops.reduce import (
    dist as dist,
)
from tensorlite.ops.reduce import (
    logsumexp as logsumexp,
)
from tensorlite.ops.reduce import (
    max as max,
)
from tensorlite.ops.reduce import (
    mean as mean,
)
from tensorlite.ops.reduce import (
    min as min,
)
from tensorlite.ops.reduce import (
    norm as norm,
)
from tensorlite.ops.reduce import (
    prod as prod,
)
from tensorlite.ops.reduce import (
    std as std,
)
from tensorlite.ops.reduce import (
    std_mean as std_mean,
)
from tensorlite.ops.reduce import (
    sum as sum,
)
from tensorlite.ops.reduce import (
    var as var,
)
from tensorlite.ops.reduce import (
    var_mean as var_mean,
)
from tensorlite.ops.shape import (
    broadcast_to as broadcast_to,
)
from tensorlite.ops.shape import (
    flatten as flatten,
)
from tensorlite.ops.shape import (
    flip as flip,
)
from tensorlite.ops.shape import (
    movedim as movedim,
)
from tensorlite.ops.shape import (
    permute as permute,
)
from tensorlite.ops.shape import (
    ravel as ravel,
)
from tensorlite.ops.shape import (
    reshape as reshape,
)
from tensorlite.ops.shape import (
    roll as roll,
)
from tensorlite.ops.shape import (
    squeeze as squeeze,
)
from tensorlite.ops.shape import (
    swapaxes as swapaxes,
)
from tensorlite.ops.shape import (
    t as t,
)
from tensorlite.ops.shape import (
    tile as tile,
)
from tensorlite.ops.shape import (
    transpose as transpose,
)
from tensorlite.ops.shape import (
    unflatten as unflatten,
)
from tensorlite.ops.shape import (
    unsqueeze as unsqueeze,
)
