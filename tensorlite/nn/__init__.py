"""Layers and models, under PyTorch's names."""

from tensorlite.nn import functional as functional, init as init, utils as utils
from tensorlite.nn.layers import (
    GELU as GELU,
    CrossEntropyLoss as CrossEntropyLoss,
    Dropout as Dropout,
    Embedding as Embedding,
    Identity as Identity,
    LayerNorm as LayerNorm,
    Linear as Linear,
    ModuleDict as ModuleDict,
    ModuleList as ModuleList,
    MSELoss as MSELoss,
    NLLLoss as NLLLoss,
    ParameterList as ParameterList,
    ReLU as ReLU,
    RMSNorm as RMSNorm,
    Sequential as Sequential,
    Sigmoid as Sigmoid,
    SiLU as SiLU,
    Softmax as Softmax,
    Tanh as Tanh,
)
from tensorlite.nn.module import Module as Module, Parameter as Parameter
