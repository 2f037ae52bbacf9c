"""Whole training steps: forward, backward, clipping, AdamW."""

from __future__ import annotations

from benchmarks import peers
from benchmarks.harness import OURS, Bench
from benchmarks.ours import Training
from benchmarks.shapes import STEPS

GOALS = {"S": 0.50, "M": 0.72, "L": 0.60}


def same_start(ours: Training, theirs: Training) -> None:
    """Give the peer our weights and our batch, and check that it computes our loss."""
    theirs.model.load(peers.weights(ours.model))
    for name in ("ids", "targets"):
        setattr(theirs, name, peers.torch().from_numpy(getattr(ours, name).numpy()))
    a, b = (side.model.loss(side.ids, side.targets).item() for side in (ours, theirs))
    if abs(a - b) > 1e-4 * abs(b):
        raise RuntimeError(f"training: the two sides differ: loss {a} here, {b} in PyTorch")


def run(bench: Bench) -> None:
    """Steps S, M and L against PyTorch, eager and compiled."""
    for step in STEPS.values():
        if bench.quick and step.name != "S":
            continue
        for _ in bench.on_threads():
            ours = Training(step)
            sides = {OURS: ours.step}
            if peers.HAS_TORCH:
                eager = peers.torch_gpt().Training(step)
                same_start(ours, eager)
                sides["torch"] = eager.step
                if bench.with_compile:
                    compiled = peers.torch_gpt().Training(step, compiled=True)
                    sides["torch.compile"] = compiled.step
            bench.compare(
                "training", step.name, sides, goal={"torch": GOALS[step.name]},
                flops=step.flops, items=step.tokens,
            )  # fmt: skip
