"""PyTorch as the oracle: what it changes in place, derives and refuses, so does tensorlite.

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
X, W = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
NAMES = {"np": np, **vars(builtins)}


@pytest.fixture(autouse=True)
def as_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """dtypes print as torch.float32, as they do for a program that runs under that name."""
    monkeypatch.setattr(tl.dtype, "prefix", "torch")


# ---------------------------------------------------------------------------------------- gradients

GRADIENTS = """
x.max()
x.min()
x.max(1)[0]
x.min(0).values
x.sort(1)[0]
x.topk(2)[0]
x.amax((0,1))
x.var()
x.var(0)
x.var(1,unbiased=False)
x.std(1)
x.std()
x.norm()
x.norm(dim=1)
x.norm(p=1,dim=0)
x.norm(p=3)
x.prod()
x.prod(0)
x.cumprod(1)
x.cumsum(1)
x.logsumexp(0)
x.clamp(-.5,.5)
x.clamp(min=w)
x.clamp(w,w+1)
m.maximum(x,w)
m.minimum(x,w)
m.maximum(x,x)
m.where(x>0,x,w)
m.where(x>0,x,0.)
x.masked_fill(x>0,2.)
x.masked_select(x>0)
x[x>0]
x[[0,0,2]]
x[:,[1,1]]
x[1:,None,::2]
x[[0,1],[1,2]]
x.gather(1,m.tensor([[0,1],[1,1],[3,0]]))
x.index_select(1,m.tensor([0,0,3]))
x.scatter(1,m.tensor([[0],[1],[2]]),1.5)
x.index_add(0,m.tensor([0,0,2]),w)
x.index_add(0,m.tensor([0,0,2]),w,alpha=2)
x.index_copy(0,m.tensor([1,0,2]),w)
x.index_fill(0,m.tensor([1]),3.)
x.take_along_dim(m.tensor([[0],[1],[2]]),1)
m.take(x,m.tensor([0,5]))
x.repeat(2,1)
x.repeat(2,1,2)
m.tile(x,(2,))
x.expand(2,3,4)
x.roll(1)
x.roll((1,2),(0,1))
x.flip(0,1)
x.flip((0,1))
x.tril()
x.triu(1)
x.diagonal()
x.diag()
m.diag(x[0])
x.t()
x.mT
x.movedim(0,1)
x.swapaxes(0,1)
x.flatten()
x.unflatten(1,(2,2))
x.view(-1,2)
x.view(2,6).t().reshape(-1)
x.unsqueeze(1).squeeze(1)
m.cat((x,w),1)
m.cat([x,w])
m.stack([x,w],-1)
m.hstack([x,w])
m.vstack([x,w])
x.chunk(3,1)[1]
x.split([1,3],1)[1]
x.split(2)[0]
m.tensor_split(x,3,1)[0]
x.unbind(1)[2]
list(x)[1]
x.narrow(1,1,2)
x**3
x**2
x**2.0
pos**0.5
pos**w
2**x
pos**-1
x.pow(2)
x.square()
x/pos
1/pos
2-x
x%pos
x.remainder(0.7)
x.fmod(0.7)
x.abs()
x.sign()
x.exp()
pos.log2()
pos.rsqrt()
pos.reciprocal()
x.atan()
m.atan2(x,w)
x.lerp(w,0.3)
x.lerp(w,w)
m.addcmul(x,w,w,value=2)
m.addcdiv(x,w,pos,value=2)
m.add(x,w,alpha=3)
x.sub(w,alpha=3)
x.double().float().double()
x.mean(0,keepdim=True)
x.mean((0,1))
x.sum(-1)
x.sum((0,1),keepdim=True)
m.einsum('ij,kj->ik',x,w)
x@w.T
x.matmul(w[0])
x[0]@w[0]
m.outer(x[0],w[1])
m.dist(x,w)
x.nan_to_num()
m.var_mean(x,1)[0]
m.std_mean(x,1)[1]
(x*x).sum()*x
x.T.contiguous()
x.clone()
x.detach()*x
x.floor()+x
x.round()*x
x.trunc()
x.scatter_add(1,m.tensor([[0,0],[1,1],[2,3]]),w[:,:2])
x.scatter(1,m.tensor([[0],[1],[2]]),w[:,:1])
x.repeat_interleave(2,dim=1)
x.softmax(-1)
x.log_softmax(1)
x.sigmoid()
x.tanh()
x.relu()
m.softmax(x,dim=0)
m.erf(x)
"""


@pytest.mark.parametrize("line", GRADIENTS.split("\n")[1:-1])
def test_a_value_and_its_gradient_are_those_of_torch(line: str) -> None:
    found = []
    for m in (torch, tl):
        x, w, pos = (m.tensor(a, requires_grad=True) for a in (X, W, abs(X) + 0.1))
        y = eval(line, {**NAMES, "m": m, "x": x, "w": w, "pos": pos})
        weights = np.cos(np.arange(y.numel())).reshape(tuple(y.shape))
        (y * m.tensor(weights)).sum().backward()
        zeros = np.zeros((3, 4))
        grads = [zeros if v.grad is None else v.grad.numpy() for v in (x, w, pos)]
        found.append([y.detach().numpy(), *grads])
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


# ----------------------------------------------------------------------------------------- in place

CHANGES = """
a.add_(b)
a.add_(b,alpha=2)
a.sub_(1)
a.mul_(b)
a.div_(2)
a.pow_(2)
a.clamp_(-1,1)
a.clamp_(min=0)
a.zero_()
a.fill_(3)
a.copy_(b)
a.copy_(b[0])
a.copy_(m.arange(4))
a.masked_fill_(a>0,9.)
a.exp_()
a.neg_()
a.abs_()
a.lerp_(b,.5)
a.addcmul_(b,b,value=.5)
a.addcdiv_(b,b)
a.index_add_(0,m.tensor([0]),b[:1])
a.scatter_(1,m.tensor([[0],[1],[2]]),5.)
a.scatter_add_(1,m.tensor([[0],[1],[2]]),b)
a.tril_()
a.__iadd__(1)
a.__setitem__(0,1.)
a.__setitem__((0,0),m.tensor(5))
a.__setitem__((slice(None),1),b[:,0])
a.__setitem__(a>0,0.)
a.__setitem__(a>0,b[b>0][:1])
a.__setitem__([0,2],b[:2])
a.__setitem__((m.tensor([0,1]),m.tensor([2,3])),7)
a.__setitem__(Ellipsis,b)
a.__setitem__((Ellipsis,-1),2)
a.__setitem__(0,b)
a.view(-1).__setitem__(slice(0,3),0)
a.t().add_(b.t())
a.fill_(m.tensor(2.))
a.add_(m.ones(2,3,4))
a.long().add_(1.5)
a.bool().add_(1)
a.round_()
a.floor_()
a.requires_grad_().detach().add_(1)
a.requires_grad_().add_(1)
"""


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("line", CHANGES.split("\n")[1:-1])
def test_a_change_in_place_is_that_of_torch(line: str, dtype: Any) -> None:
    found = []
    for m in (torch, tl):
        a, b = m.tensor(X.astype(dtype)), m.tensor(W.astype(dtype))
        try:
            eval(line, {**NAMES, "m": m, "a": a, "b": b})
            found.append(repr(a))
        except Exception as error:
            found.append(type(error).__name__ if m is torch else "")
            if m is tl:
                assert found[0] in [c.__name__ for c in type(error).__mro__], repr(error)
                return
    assert found[1] == found[0]


# ------------------------------------------------------------------------------------------- misuse

MISUSE = """
m.ones(2,3)@m.ones(2,3)
m.ones(2)+m.ones(3)
m.ones(2).view(3)
m.ones(2,3).t().view(6)
m.ones(2).reshape(-1,3)
m.ones(2).sum(1)
m.ones(2).sum((0,0))
m.ones(2).transpose(0,1)
m.ones(2).squeeze(3)
m.ones(2,3).expand(4,3)
m.ones(2,3).expand(3)
m.cat([m.ones(2),m.ones(2,2)])
m.cat([])
m.stack([m.ones(2),m.ones(3)])
m.ones(3).split([1,1])
m.ones(3).chunk(0)
m.ones(3).gather(0,m.tensor([[0]]))
m.ones(3).gather(0,m.tensor([0.]))
m.ones(3).index_select(0,m.tensor([5]))
m.ones(3)[5]
m.ones(3)[0,0]
m.ones(3)[m.tensor([True])]
m.ones(3).item()
bool(m.ones(3))
float(m.ones(3))
int(m.ones(3))
len(m.tensor(1))
iter(m.tensor(1))
m.ones(3)+'a'
m.ones(3)+None
m.ones(3)+[1,2,3]
m.ones(3)==None
m.ones(3)!=None
m.ones(3)=='a'
m.ones(3)<None
m.tensor('a')
m.tensor([[1],[2,3]])
m.tensor([1],requires_grad=True)
m.sum()
m.ones(3).sum(dim=0,foo=1)
m.ones(3).argmax(2)
m.zeros(0).max()
m.zeros(0).argmax()
m.zeros(0).sum()
m.zeros(0).mean()
m.zeros(0,3).mean(0)
m.zeros(0,3).max(1)
m.zeros(0,3).max(0)
m.tensor([1,2]).exp().dtype
m.ones(2).masked_fill(m.ones(2),1.)
m.ones(2).masked_fill(m.tensor([True,False]),m.ones(2))
m.ones(3).topk(5)
m.full((2,),'a')
m.arange(5,0)
m.arange(0,5,-1)
m.arange(0,5,0)
m.zeros(-1)
m.ones(3,requires_grad=True).numpy()
np.asarray(m.ones(3,requires_grad=True))
m.ones(3,requires_grad=True).backward()
m.ones(()).backward()
(m.ones(3,requires_grad=True)*2).backward(m.ones(2))
m.clamp(m.ones(2))
m.ones(2).clamp()
m.tensor(2)**-1
m.tensor([1.]).to(m.int64)
m.from_numpy([1])
m.from_numpy(np.array(['a']))
m.ones(2,2).unbind(3)
m.ones(3).tril()
m.ones(2).flatten(1,0)
m.ones(2).repeat()
m.ones(2,2).repeat(2)
m.ones(3).narrow(0,2,2)
m.ones(3).unsqueeze(5)
"""


@pytest.mark.parametrize("line", MISUSE.split("\n")[1:-1])
def test_misuse_raises_what_torch_raises(line: str) -> None:
    found = []
    for m in (torch, tl):
        try:
            found.append(repr(eval(line, {**NAMES, "m": m})))
        except Exception as error:
            if m is torch:
                found.append(type(error).__name__)
                continue
            assert found[0] in [c.__name__ for c in type(error).__mro__], repr(error)
            return
    assert found[1] == found[0]
