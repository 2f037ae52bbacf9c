"""PyTorch as the oracle: what it prints and computes, and how it mixes types.

Each line is run twice, with m = torch and with m = tensorlite.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

import tensorlite as tl

torch = pytest.importorskip("torch")

rng = np.random.default_rng(0)
X = rng.standard_normal((3, 4))
NAMES = {"np": np, **vars(builtins)}


@pytest.fixture(autouse=True)
def as_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """dtypes print as torch.float32, as they do for a program that runs under that name."""
    monkeypatch.setattr(tl.dtype, "prefix", "torch")


# ----------------------------------------------------------------------------------------- printing

NUMBERS = [0.1, 1.0, 1.5, 1e-5, 1e5, 123456.0, 1e9, np.inf, -np.inf, np.nan, -0.0, 0.0, 3e-39, 1e38]


@pytest.mark.parametrize("seed", range(150))
def test_a_tensor_prints_as_in_torch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(0, 5, rng.integers(0, 4)))
    kinds = [
        rng.standard_normal(shape).astype(np.float32),
        rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 9),
        rng.choice(NUMBERS, shape).astype(np.float32),
        rng.integers(-1000, 1000, shape).astype(np.float32),
        rng.integers(-1000, 1000, shape),
        rng.integers(0, 255, shape).astype(np.uint8),
        rng.integers(0, 255, shape).astype(np.int32),
        np.asarray(rng.random(shape) < 0.5),
    ]
    for x in kinds:
        x = np.asarray(x)
        assert repr(tl.tensor(x)) == repr(torch.tensor(x))


@pytest.mark.parametrize(
    "shape", [(2000,), (40, 40), (5, 300), (3, 7, 100), (1001, 1, 1), (8, 8, 8, 8)], ids=str
)
def test_a_large_tensor_is_summarised_as_in_torch(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for y in (x, (x * 100).astype(np.int64)):
        assert repr(tl.tensor(y)) == repr(torch.tensor(y))


@pytest.mark.parametrize(
    "options",
    [{"precision": 2}, {"threshold": 5, "edgeitems": 1}, {"linewidth": 30}, {"sci_mode": True},
     {"profile": "short"}, {"profile": "full"}],
    ids=str,
)  # fmt: skip
def test_print_options_are_those_of_torch(options: dict[str, Any]) -> None:
    try:
        for m in (tl, torch):
            m.set_printoptions(**options)
        assert repr(tl.tensor(X)) == repr(torch.tensor(X))
    finally:
        for m in (tl, torch):
            m.set_printoptions(profile="default")


# ------------------------------------------------------------------------------ values and printing

SAME = """
G(m)
G(m)+1
G(m).sum()
G(m).mean(0)
G(m).exp()
G(m)@G(m).T
G(m)[0]
G(m)[:,1:]
G(m)[[0,1]]
G(m)[G(m)>0]
G(m).view(4,3)
G(m).reshape(-1)
G(m).transpose(0,1)
G(m).T
G(m).permute(1,0)
G(m).unsqueeze(0)
G(m).squeeze()
G(m).expand(2,3,4)
G(m).max()
G(m).max(1)
G(m).min(dim=0,keepdim=True)
G(m).topk(2)
G(m).sort()
G(m).sort(dim=0,descending=True)
m.cat([G(m),G(m)])
m.stack([G(m),G(m)])
G(m).split(2)
G(m).chunk(2,1)
G(m).unbind()
G(m).var()
G(m).std(1)
G(m).norm()
G(m).pow(2)
G(m)**2
G(m)**0.5
2**G(m)
1/G(m)
1-G(m)
-G(m)
G(m)/2
G(m)*G(m)
abs(G(m))
m.sqrt(abs(G(m)))
m.where(G(m)>0,G(m),0.)
G(m).masked_fill(G(m)>0,0.)
G(m).clamp(-1,1)
G(m).clamp(min=0)
m.maximum(G(m),G(m)*0)
G(m).tril()
G(m).cumsum(0)
G(m).prod()
G(m).prod(1)
G(m).logsumexp(1)
G(m).flip(0)
G(m).roll(1,0)
G(m).gather(1,m.tensor([[0],[1],[2]]))
G(m).index_select(0,m.tensor([0,0]))
G(m).repeat(2,1)
G(m).clone()
G(m).double()
G(m).detach()
G(m).flatten()
G(m).float()
G(m).to(m.float64)
round(G(m).sum().item(), 4)
G(m).shape
G(m).size()
G(m).size(0)
G(m).numel()
G(m).stride()
G(m).T.is_contiguous()
G(m).dtype
G(m).grad
G(m).is_leaf
G(m).argmax()
G(m).argmax(1)
G(m).argmin(0,keepdim=True)
G(m).any()
(G(m)>0).all(1)
G(m)>0
G(m)==G(m)
(G(m)>0)&(G(m)<1)
~(G(m)>0)
G(m).tolist()
m.arange(5)
m.arange(2,10,3)
m.arange(0,1,0.1)
m.arange(5.)
m.linspace(0,1,5)
m.eye(3)
m.full((2,2),7)
m.full((2,2),1.5)
m.full((2,),True)
m.ones(2,3,dtype=m.int64)
m.zeros((2,3))
m.zeros(0)
m.zeros(2,0)
m.tensor(3)
m.tensor(3.5)
m.tensor(True)
m.tensor([])
m.tensor([[]])
m.tensor([1,2.5])
m.tensor([True,2])
m.tensor([[1,2],[3,4]])
m.tensor(np.float64(2))
m.tensor([np.float64(2)])
m.tensor([m.tensor(1),m.tensor(2)])
m.tensor([m.tensor(1.),m.tensor(2.)])
m.tril_indices(3,3)
m.triu_indices(3,4,1)
m.tril(m.ones(3,3))
m.unique(m.tensor([3,1,1,2]))
m.unique(m.tensor([3,1,1,2]),return_counts=True)
m.bincount(m.tensor([0,1,1,3]))
m.nonzero(m.tensor([[1,0],[0,1]]))
m.nonzero(m.tensor([[1,0],[0,1]]),as_tuple=True)
m.where(m.tensor([[1,0],[0,1]]))
m.topk(m.tensor([3.,1,2]),2)
m.topk(m.tensor([3,1,2]),2,largest=False)
m.sort(m.tensor([3,1,2]))
m.argsort(m.tensor([3.,1,2]),descending=True)
m.searchsorted(m.tensor([1.,2,3]),m.tensor([2.5]))
m.outer(m.tensor([1.,2]),m.tensor([3.,4]))
m.isclose(m.tensor([1.]),m.tensor([1.+1e-9]))
m.allclose(m.tensor([1.]),m.tensor([2.]))
m.equal(m.tensor([1.]),m.tensor([1.]))
m.tensor([1.5,2.5,-0.5]).round()
m.tensor([1.234]).round(decimals=1)
m.tensor([5,-5])//2
m.tensor([5,-5])%3
m.tensor([5.,-5.])//2
m.tensor([5.,-5.])%3
m.fmod(m.tensor([5.,-5.]),3)
m.div(m.tensor([5.,-5.]),2,rounding_mode='trunc')
m.div(m.tensor([5,-5]),2,rounding_mode='trunc')
m.div(m.tensor([5,-5]),2,rounding_mode='floor')
m.tensor([5,-5])/2
m.tensor([1,2])+0.5
m.tensor([1,2])*m.tensor(0.5)
m.tensor([1.,2])*m.tensor(2,dtype=m.float64)
m.tensor([1,2],dtype=m.int32)+m.tensor([1,2])
m.tensor([1,2],dtype=m.uint8)+1
m.tensor([1,2],dtype=m.uint8)+m.tensor([1,2],dtype=m.int32)
m.tensor([True])+1
m.tensor([True])+True
m.tensor([True])+m.tensor([True])
m.tensor([True])*2.5
m.tensor([1])**2
m.tensor([2])**-1
m.tensor([2])**0.5
m.tensor([2.])**m.tensor([3])
m.tensor(2)**m.tensor([3.])
m.tensor([1,2]).sum()
m.tensor([True,True]).sum()
m.tensor([1,2],dtype=m.uint8).sum()
m.tensor([1,2],dtype=m.int32).sum()
m.tensor([1,2]).mean()
m.tensor([1,2]).float().mean()
m.tensor([1,2]).mean(dtype=m.float32)
m.tensor([1.,2]).var()
m.tensor([1.,2]).var(unbiased=False)
m.tensor([[1.,2]]).var(1,keepdim=True)
m.tensor([[1.,2]]).std(-1,unbiased=False,keepdim=True)
m.tensor([1,2]).exp()
m.tensor([1,4]).sqrt()
m.tensor([1,4],dtype=m.int32)/m.tensor([2],dtype=m.int32)
m.tensor([-1.]).sqrt()
m.tensor([-1.]).log()
m.tensor([0.]).log()
1/m.tensor([0.])
m.tensor([1])/0
m.tensor([1,2])<1.5
m.tensor([1,2])==m.tensor([1.,3.])
m.tensor([1,2]).prod()
m.tensor([1,2]).cumsum(0)
m.tensor([1,2],dtype=m.int32).cumsum(0)
m.tensor([True,False]).cumsum(0)
m.tensor([1,2]).max()
m.tensor([1,2]).abs()
m.tensor([1.,2]).norm(p=1)
m.tensor([1.,2]).norm(p=3)
m.tensor([1.,2]).norm(p=float('inf'))
m.tensor([1,2]).bool()
m.tensor([1.7,-1.7]).long()
m.tensor([1.7,-1.7]).int()
m.tensor([1.7]).to(m.uint8)
m.tensor([1,2]).double()
m.cat([m.tensor([1]),m.tensor([1.5])])
m.cat([m.tensor([1,2]),m.tensor([])])
m.stack([m.tensor(1),m.tensor(2)])
m.where(m.tensor([True,False]),1,0)
m.where(m.tensor([True,False]),1.5,0)
m.where(m.tensor([True,False]),m.tensor([1,2]),0.5)
m.where(m.tensor([True,False]),m.tensor([1.,2]),m.tensor([3.,4],dtype=m.float64))
m.clamp(m.tensor([1,5]),2,3)
m.clamp(m.tensor([1,5]),min=2.5)
m.clamp(m.tensor([1.,5]),max=m.tensor([0.,9.]))
m.maximum(m.tensor([1,2]),m.tensor([1.5,1.5]))
m.float32
m.Size([2,3])
m.tensor([1.]).device
m.device('cpu')
m.tensor([1.,2.]).type()
repr(m.tensor([1.]).type(m.float64))
m.tensor(5).item()
f"{m.tensor(3.14159):.2f}"
f"{m.tensor(3)}"
f"{m.tensor([3])}"
m.tensor([1,2,3])[m.tensor(1)]
len(m.zeros(3,2))
m.tensor([[1,2],[3,4]]).T
m.zeros(2,3)[None].shape
m.ones(2,3)[...,None].shape
m.arange(6).view(2,3)[:, -1]
m.arange(6).view(2,3)[:, [-1]]
m.arange(6).view(2,3)[1, [0,2]]
m.arange(24).view(2,3,4)[0,:,[1,2]]
m.arange(24).view(2,3,4)[:,[0,1],[1,2]]
m.arange(24).view(2,3,4)[[0,1],:,[1,2]]
m.arange(24).view(2,3,4)[m.tensor([0,1]),None,[1,2]]
m.arange(24).view(2,3,4)[..., m.tensor([True,False,True,False])]
m.arange(24).view(2,3,4)[m.tensor([True,False])]
m.arange(24).view(2,3,4)[m.arange(24).view(2,3,4)>10]
m.arange(24).view(2,3,4)[m.tensor([[True,False,True],[False,False,True]]), 1]
m.arange(24).view(2,3,4)[1:, ::2, None, 3]
m.arange(24).view(2,3,4)[True].shape
m.arange(24).view(2,3,4)[m.tensor([[0,1],[1,0]])].shape
m.arange(24).view(2,3,4)[:, m.tensor([[0,1],[1,0]])].shape
m.arange(24).view(2,3,4)[0,0,0]
m.arange(24).view(2,3,4)[5]
m.arange(24).view(2,3,4)[0,0,0,0]
m.arange(24).view(2,3,4)[[5]]
m.arange(5)[::-1]
m.arange(5)[1.5]
m.arange(5)[m.tensor([1.5])]
m.arange(5)[[]]
m.arange(5)[()]
m.arange(5)[range(2)]
m.arange(5)[np.int64(2)]
m.arange(5)[np.array([1,2])]
m.arange(5)[slice(m.tensor(1),m.tensor(3))]
"""


@pytest.mark.parametrize("line", SAME.split("\n")[1:-1])
def test_an_expression_is_what_it_is_in_torch(line: str) -> None:
    def run(m: Any) -> Any:
        def G(m: Any) -> Any:
            return m.tensor(X.astype(np.float32), requires_grad=True)

        try:
            return repr(eval(line, {**NAMES, "m": m, "G": G}))
        except Exception as error:
            return error

    theirs, ours = run(torch), run(tl)
    if isinstance(theirs, Exception):
        assert isinstance(ours, Exception), f"should raise {theirs!r}"
    else:
        assert str(ours) == theirs


# ---------------------------------------------------------------------------------------- promotion

TYPES = ["float32", "float64", "int64", "int32", "uint8", "bool"]
OPERANDS = [*(f"m.ones(2).to(m.{t})" for t in TYPES), *(f"m.tensor(1).to(m.{t})" for t in TYPES),
            "2", "1.5", "True"]  # fmt: skip


@pytest.mark.parametrize("sign", ["+", "*", "/", "**", "==", "<"])
@pytest.mark.parametrize("left", OPERANDS)
def test_types_mix_as_in_torch(left: str, sign: str) -> None:
    for right in OPERANDS:
        line = f"({left}) {sign} ({right})"
        found = []
        for m in (torch, tl):
            try:
                value = eval(line, {"m": m})
            except NotImplementedError:  # powers of booleans
                break
            found.append(str(getattr(value, "dtype", type(value))))
        else:
            assert found[1] == found[0], line
