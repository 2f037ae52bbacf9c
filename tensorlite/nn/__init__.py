"""Layers and models, under PyTorch's names."""

from tensorlite.nn import functional as functional, init as init, utils as utils
from tensorlite.nn.containers import (
    ModuleDict as ModuleDict,
    ModuleList as ModuleList,
    ParameterList as ParameterList,
    Sequential as Sequential,
)
from tensorlite.nn.layers import (
    GELU as GELU,
    CrossEntropyLoss as CrossEntropyLoss,
    Dropout as Dropout,
    Embedding as Embedding,
    Identity as Identity,
    LayerNorm as LayerNorm,
    Linear as Linear,
    MSELoss as MSELoss,
    NLLLoss as NLLLoss,
    PackedEmbedding as PackedEmbedding,
    PackedLinear as PackedLinear,
    ReLU as ReLU,
    RMSNorm as RMSNorm,
    Sigmoid as Sigmoid,
    SiLU as SiLU,
    Softmax as Softmax,
    Tanh as Tanh,
)
from tensorlite.nn.module import Module as Module, Parameter as Parameter
