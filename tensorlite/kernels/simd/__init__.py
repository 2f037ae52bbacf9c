"""SIMD values inside Numba: vectors of the CPU's width, tiles of them, and what they can do.

A `Vector` is an LLVM vector that lives in a register; a variable that holds one is plain Python:

    @inline
    def scale(x, y, start, stop, factor):
        w = simd.lanes(x)
        f = simd.splat(factor)
        i = start
        while i + w <= stop:
            simd.store(y, i, simd.load(x, i) * f)
            i += w
        if i < stop:                                    # the tail goes through the same code
            simd.store_part(y, i, stop - i, simd.load_part(x, i, stop - i, f) * f)

The element type follows the data, so one source serves float32 and float64. `i` counts elements
from the array's first element, whatever its shape: arrays are contiguous, or i comes from strides.

    lanes(x)                    elements in a vector of x's type, known when compiling:
                                16, 8 or 4 of float32, half as many of float64
    load(x, i)  store(x, i, v)  lanes elements at x[i:]
    load_part(x, i, n, fill)    the first n lanes from memory, the others from the vector `fill`
    store_part(x, i, n, v)      the first n lanes only; n may be 0 or less, lanes or more
    take(x, i, n, fill)         the same two, quick where n >= lanes: a loop with them needs no
    put(x, i, n, v)             tail, for 0 to 3 % of its time
    stretch(x, i, stop, past)   how many elements to write next, and to write them past the caches:
    put_past(x, i, n, v, past)  for results of more than FAR elements
    splat(s)  spread(x, i)      the scalar s, or x[i], in every lane
    zero(x)                     0 of x's type in every lane
    + - * / unary-              on vectors; here and below a number may stand for a vector of it
    fma(a, b, c)                a * b + c rounded once; nothing else is ever contracted
    maximum minimum absolute sqrt copysign(a, sign)
    a < b  <=  >  >=  ==  !=    a Mask (False where a NaN is compared, but != is True)
    select(mask, a, b)          a where the mask is True, else b; masks combine by & and |
    first(x, n)                 the mask of lanes 0..n-1
    exp(v)                      e to the v, within 1 ulp
    exp_of_difference(v)        exp(v) for v <= 0 or little above, 0 where that is not normal
    exp_beside_one(v)           exp(v) for 1 + exp(v), to whose bits less than e^-60 adds nothing
    polynomial(v, c)            c[0] + c[1] v + c[2] v^2 + ... for a tuple c
    total(v)  largest(v)        a scalar from all lanes by a fixed tree: halves onto halves
    lane(v, i)                  one lane as a scalar, i a literal
    prefetch(x, i)              ask for the cache line of x[i]; prefetch_to_l2(x, i): no nearer;
                                prefetch_to_write(x, i): for this core alone.
                                AHEAD: how far ahead, in elements, where a row is shorter
    address(x)                  x's address, to compare or to align
    scratch(x, n)               n elements of x's type, uninitialized, from a quarter of a page on

Tiles, for products of matrices (rows and columns are literals; columns count vectors):

    tile(x, rows, columns)               zeros
    outer(t, a, i, b, j)                 t[r, c] = fma(a[i + r], b[j + lanes * c :], t[r, c])
    outer_strided(t, a, i, s, b, j)      the same with a[i + s * r]
    tile_load(x, i, s, rows, columns)    t[r, c] = x[i + s * r + lanes * c :]
    tile_store(x, i, s, t)               x[i + s * r + lanes * c :] = t[r, c]
    tile_plus(t, x, i, s)                t[r, c] + x[i + s * r + lanes * c :]
    tile_row(t, r, c)                    the vector t[r, c], r and c literals
    tile_set(t, r, c, v)                 the tile with v there
    transpose(t)                         of a lanes x 1 tile: lane c of row r <-> lane r of row c
    chain(t, x, i, s, v)                 for r: v = fma(x[i + s r], t[r, 0], v), in this order
    multiply(c, ..., a, ..., b, ...)     c (+)= a b: the loop over `outer` as a function of its own

Parts of float32, and the processor's tile registers for them; see kernels/parts.py:

    is_parted(x)                         whether products of x's type are made of parts here
    split(v)  split_pairs(v, w)          three parts of v; pairs of bfloat16 of v's parts and w's
    outer_parts(t, a, i, plane, b, j)    as outer, for each product of parts
    add_chains(t, first, second)         t + (first[p] + second[p]) for each product p in turn
    tiles_begin(rows)  tiles_end()       around the use of tile registers
    tiles_zero tiles_multiply tiles_store    a tile of c of up to 2 x 2 of them
    flush_denormals()  restore_denormals(before)    around what is computed as they compute

Nothing here lets the compiler choose an order of additions, so results are the same bits wherever
a function is inlined. Source of the approach: numba.extending's intrinsics over LLVM's vectors.
"""

from tensorlite.kernels.processor import TILES
from tensorlite.kernels.simd.arithmetic import (
    absolute,
    copysign,
    first,
    fma,
    largest,
    maximum,
    minimum,
    select,
    sqrt,
    total,
)
from tensorlite.kernels.simd.edges import AHEAD, FAR, put, put_past, stretch, take
from tensorlite.kernels.simd.exponential import exp, exp_beside_one, exp_of_difference
from tensorlite.kernels.simd.parts import (
    PAIRS,
    PRODUCTS,
    TILE,
    add_chains,
    flush_denormals,
    is_parted,
    outer_parts,
    restore_denormals,
    split,
    split_pairs,
    tiles_begin,
    tiles_end,
    tiles_multiply,
    tiles_store,
    tiles_zero,
)
from tensorlite.kernels.simd.polynomial import polynomial
from tensorlite.kernels.simd.products import multiply
from tensorlite.kernels.simd.scratch import scratch
from tensorlite.kernels.simd.tiles import (
    TILE_COLUMNS,
    TILE_ROWS,
    Tile,
    chain,
    outer,
    outer_strided,
    tile,
    tile_load,
    tile_plus,
    tile_row,
    tile_set,
    tile_store,
    transpose,
)
from tensorlite.kernels.simd.vectors import (
    AMD,
    REGISTER_BITS,
    Mask,
    Vector,
    address,
    lane,
    lanes,
    load,
    load_part,
    overload,
    prefetch,
    prefetch_to_l2,
    prefetch_to_write,
    splat,
    spread,
    store,
    store_part,
    vector_type,
    zero,
)

__all__ = [
    "AHEAD",
    "AMD",
    "FAR",
    "PAIRS",
    "PRODUCTS",
    "REGISTER_BITS",
    "TILE",
    "TILES",
    "TILE_COLUMNS",
    "TILE_ROWS",
    "Mask",
    "Tile",
    "Vector",
    "absolute",
    "add_chains",
    "address",
    "chain",
    "copysign",
    "exp",
    "exp_beside_one",
    "exp_of_difference",
    "first",
    "flush_denormals",
    "fma",
    "is_parted",
    "lane",
    "lanes",
    "largest",
    "load",
    "load_part",
    "maximum",
    "minimum",
    "multiply",
    "outer",
    "outer_parts",
    "outer_strided",
    "overload",
    "polynomial",
    "prefetch",
    "prefetch_to_l2",
    "prefetch_to_write",
    "put",
    "put_past",
    "restore_denormals",
    "scratch",
    "select",
    "splat",
    "split",
    "split_pairs",
    "spread",
    "sqrt",
    "store",
    "store_part",
    "stretch",
    "take",
    "tile",
    "tile_load",
    "tile_plus",
    "tile_row",
    "tile_set",
    "tile_store",
    "tiles_begin",
    "tiles_end",
    "tiles_multiply",
    "tiles_store",
    "tiles_zero",
    "total",
    "transpose",
    "vector_type",
    "zero",
]
