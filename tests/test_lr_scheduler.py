"""Schedules of the learning rate: PyTorch's numbers, to the bit."""

import json
import math

import pytest

import tensorlite
from tensorlite import optim
from tensorlite.optim import lr_scheduler

STEPS = 25


def make_optimizer(library, module, name="SGD"):
    params = [library.zeros(1, requires_grad=True) for _ in range(2)]
    groups = [{"params": params[:1], "lr": 0.3}, {"params": params[1:]}]
    return getattr(module, name)(groups, lr=0.07)


def warm_up_then_cosine(module, optimizer):
    return module.SequentialLR(
        optimizer,
        [
            module.LinearLR(optimizer, start_factor=0.01, total_iters=6),
            module.CosineAnnealingLR(optimizer, T_max=9, eta_min=0.01),
            module.StepLR(optimizer, 2, 0.5),
            module.LinearLR(optimizer, 0.5, 0.1, 3),
        ],
        milestones=[6, 14, 19],
    )


SCHEDULES = {
    "lambda": lambda m, o: m.LambdaLR(o, lambda step: 0.95**step),
    "lambdas": lambda m, o: m.LambdaLR(
        o, [lambda step: 1 / (1 + step), lambda step: math.cos(step)]
    ),
    "step": lambda m, o: m.StepLR(o, step_size=4, gamma=0.3),
    "linear": lambda m, o: m.LinearLR(o, start_factor=0.2, end_factor=0.9, total_iters=7),
    "linear default": lambda m, o: m.LinearLR(o),
    "cosine": lambda m, o: m.CosineAnnealingLR(o, T_max=STEPS),
    "cosine again and again": lambda m, o: m.CosineAnnealingLR(o, T_max=5, eta_min=0.02),
    "sequential": warm_up_then_cosine,
    "one cycle": lambda m, o: m.OneCycleLR(o, max_lr=0.5, total_steps=STEPS, cycle_momentum=False),
    "one cycle of betas": lambda m, o: m.OneCycleLR(
        o, max_lr=[0.5, 1.0], epochs=5, steps_per_epoch=5
    ),
    "one cycle in three": lambda m, o: m.OneCycleLR(
        o, max_lr=0.5, total_steps=STEPS, pct_start=0.2, three_phase=True, anneal_strategy="linear"
    ),
}


def rates(optimizer, scheduler, steps=STEPS):
    """All that a schedule may set, step by step."""
    seen = []
    for _ in range(steps):
        optimizer.step()
        seen.append(
            [(g["lr"], g.get("betas"), g.get("momentum")) for g in optimizer.param_groups]
            + [scheduler.get_last_lr()]
        )
        scheduler.step()
    return seen


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_equal_torchs_to_the_bit(name):
    torch = pytest.importorskip("torch")
    results = []
    for library, module in ((tensorlite, optim), (torch, torch.optim)):
        optimizer = make_optimizer(library, module, "AdamW")
        results.append(rates(optimizer, SCHEDULES[name](module.lr_scheduler, optimizer)))
    assert results[0] == results[1]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_saved_schedule_continues_with_the_same_rates(name):
    optimizer = make_optimizer(tensorlite, optim, "AdamW")
    scheduler = SCHEDULES[name](lr_scheduler, optimizer)
    rates(optimizer, scheduler, 10)
    saved = json.loads(json.dumps([optimizer.state_dict(), scheduler.state_dict()]))

    again = make_optimizer(tensorlite, optim, "AdamW")
    continued = SCHEDULES[name](lr_scheduler, again)
    continued.load_state_dict(saved[1])
    again.load_state_dict(saved[0])
    expected = rates(optimizer, scheduler, 12)
    found = rates(again, continued, 12)
    assert json.dumps(found) == json.dumps(expected)


def test_a_rate_changed_by_hand_stays_changed():
    optimizer = make_optimizer(tensorlite, optim)
    scheduler = lr_scheduler.StepLR(optimizer, 2, 0.5)
    scheduler.step()
    optimizer.param_groups[0]["lr"] = 8.0
    scheduler.step()
    assert scheduler.get_last_lr() == [4.0, 0.035]


def test_the_rates_without_torch():
    optimizer = make_optimizer(tensorlite, optim)
    scheduler = lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    seen = [scheduler.get_last_lr()[0]]
    for _ in range(3):
        scheduler.step()
        seen.append(scheduler.get_last_lr()[0])
    assert seen == pytest.approx([0.15, 0.225, 0.3, 0.3])
    optimizer = make_optimizer(tensorlite, optim)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=4, eta_min=0.1)
    seen = [scheduler.get_last_lr()[0]]
    for _ in range(4):
        scheduler.step()
        seen.append(scheduler.get_last_lr()[0])
    assert seen == pytest.approx([0.1 + 0.1 * (1 + math.cos(math.pi * i / 4)) for i in range(5)])


def test_momentum_cycles_against_the_rate():
    optimizer = optim.SGD([tensorlite.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=11, pct_start=0.5)
    seen = []
    for _ in range(11):
        group = optimizer.param_groups[0]
        seen.append((group["lr"], group["momentum"]))
        scheduler.step()
    assert max(seen)[1] == min(momentum for _, momentum in seen)
    assert seen[0] == pytest.approx((0.04, 0.95))
    assert seen[-1] == pytest.approx((0.04 / 1e4, 0.95))


def test_a_lambda_object_is_saved_and_a_function_is_not():
    class Decay:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, step):
            return self.factor**step

    def schedule(factor):
        optimizer = make_optimizer(tensorlite, optim)
        return lr_scheduler.LambdaLR(optimizer, [Decay(factor), lambda step: 1.0])

    state = schedule(0.5).state_dict()
    assert state["lr_lambdas"] == [{"factor": 0.5}, None]
    other = schedule(0.9)
    other.load_state_dict(state)
    other.step()
    assert other.get_last_lr() == pytest.approx([0.15, 0.07])


def test_a_schedule_may_begin_in_the_middle_where_the_optimizer_knows_its_first_rate():
    optimizer = make_optimizer(tensorlite, optim)
    with pytest.raises(KeyError, match="initial_lr"):
        lr_scheduler.StepLR(optimizer, 2, last_epoch=4)
    for group in optimizer.param_groups:
        group["initial_lr"] = 1.0
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: 1 / step, last_epoch=4)
    assert scheduler.get_last_lr() == [0.2, 0.2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: lr_scheduler.LambdaLR(o, [len]), "a function for each of 2 groups"),
        (lambda o: lr_scheduler.LinearLR(o, start_factor=0), r"start_factor must lie in \(0, 1\]"),
        (lambda o: lr_scheduler.LinearLR(o, end_factor=2), "end_factor must lie"),
        (lambda o: lr_scheduler.SequentialLR(o, [], []), "need -1 milestones"),
        (
            lambda o: lr_scheduler.SequentialLR(
                o, [lr_scheduler.LinearLR(make_optimizer(tensorlite, optim))], []
            ),
            "same optimizer",
        ),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0), "needs total_steps, or epochs"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, -1), "must be positive"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, 5, pct_start=2.0), "pct_start must lie"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, 5, anneal_strategy="no"), "'cos' or 'linear'"),
        (lambda o: lr_scheduler.OneCycleLR(o, [1.0], 5), "one max_lr for 2 groups"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(make_optimizer(tensorlite, optim))


def test_a_schedule_needs_an_optimizer_and_one_cycle_ends():
    with pytest.raises(TypeError, match="needs an Optimizer, got a list"):
        lr_scheduler.StepLR([1], 2)
    scheduler = lr_scheduler.OneCycleLR(make_optimizer(tensorlite, optim), 1.0, 2)
    scheduler.step()
    scheduler.step()
    with pytest.raises(ValueError, match="has 2 steps, this would be step 3"):
        scheduler.step()
