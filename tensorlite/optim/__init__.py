"""Optimizers, under PyTorch's names: they update parameters in place from their gradients."""

from tensorlite.optim import lr_scheduler as lr_scheduler
from tensorlite.optim.adamw import Adam as Adam, AdamW as AdamW
from tensorlite.optim.muon import Muon as Muon
from tensorlite.optim.optimizer import Optimizer as Optimizer
from tensorlite.optim.sgd import SGD as SGD
