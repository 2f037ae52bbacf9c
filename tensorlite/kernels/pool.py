"""The threads that kernels share: how work is handed to them, and how they wait for it.

Helpers wait at a gate. A launch opens it for as many as it can use, works along with those who come
in, closes it when no task is left, and waits for those who are inside, and only for them: a helper
that the system has not woken yet, because another program has its core, is not missed.

OpenMP, which Numba would use, waits for all of its threads at every launch: on a busy machine 14 us
where they sleep between launches, 7 ms where they spin, and which of the two is decided by whoever
loads OpenMP first (PyTorch spins). Here a launch takes 1 to 2 us, 10 where helpers must be woken,
busy or not, and there is nothing to install.

A helper is kept off the core of the thread that launches. The system wakes a thread where it ran
last; if the launching thread has moved there since, both share one core while another idles, on
some systems for seconds (two threads then took 345 us for a product of 768 x 128 x 384, the time of
one; kept apart, 172).

These are plain functions of `words`, on POSIX systems; jit compiles them. Atomic operations are
sequentially consistent: a launch makes a handful of them.
"""

from __future__ import annotations

import platform
import sys
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_jitable

# What compiled code reaches by the name below: words, each on cache lines of its own.
_LINE = 8
THREADS = 0 * _LINE  # how many a launch uses, itself included
SPIN = 1 * _LINE  # rounds that a helper looks at the gate before it sleeps
OWNER = 2 * _LINE  # 1 while a launch is under way
GATE = 3 * _LINE  # see below
JOB = 4 * _LINE  # two words: the address of a worker and of its data
ASLEEP = 5 * _LINE  # helpers that wait for WORK
WAITING = 6 * _LINE  # 1 while a launch waits for DONE
MUTEX = 7 * _LINE  # POSIX threads' own: 128 bytes hold one on every system
WORK = 9 * _LINE
DONE = 11 * _LINE
APART = 13 * _LINE  # 1: keep helpers off the core of the launch
CORE = 14 * _LINE  # the core that they are kept off, -1: none yet
HELPERS = 15 * _LINE  # how many there are; their numbers, as the system has them, are in NUMBERS
ALLOWED = 16 * _LINE  # a bit for each core that this process may use
ALLOWED_HERE = 18 * _LINE  # the same without CORE
NUMBERS = 20 * _LINE
MOST_HELPERS = 1023
_CORE_WORDS = 2 * _LINE  # bits for 1,024 cores, what the system's own sets of cores hold
NAME = "tensorlite_pool"

# The gate: OPEN + places left * PLACE + helpers inside. STOP sends the helpers home.
PLACE = 1 << 20
OPEN = 1 << 40
STOP = 1 << 50

words = np.zeros(NUMBERS + MOST_HELPERS + 7, np.int64)
words = words[(-(words.ctypes.data // 8)) % _LINE :]  # from the start of a cache line
llvm.add_symbol(NAME, words.ctypes.data)


# ------------------------------------------------------------------------------ atomic operations


def _word(builder: ir.IRBuilder, index: ir.Value) -> ir.Value:
    known = builder.module.globals.get(NAME)
    base = ir.GlobalVariable(builder.module, ir.IntType(64), NAME) if known is None else known
    return builder.gep(base, [index])


@intrinsic
def load(typing, index):
    """words[index]"""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_word(builder, args[0]), "seq_cst", 8)

    return types.intp(types.intp), codegen


@intrinsic
def store(typing, index, value):
    """words[index] = value"""

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[1], _word(builder, args[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


@intrinsic
def add(typing, index, value):
    """words[index] += value; returns what was there before."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", _word(builder, args[0]), args[1], "seq_cst")

    return types.intp(types.intp, types.intp), codegen


@intrinsic
def keep_bits(typing, index, mask):
    """words[index] &= mask; returns what was there before."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("and", _word(builder, args[0]), args[1], "seq_cst")

    return types.intp(types.intp, types.intp), codegen


@intrinsic
def replace(typing, index, old, new):
    """If words[index] is old, make it new; was it?"""

    def codegen(context, builder, signature, args):
        pair = builder.cmpxchg(_word(builder, args[0]), args[1], args[2], "seq_cst", "seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(types.intp, types.intp, types.intp), codegen


@intrinsic
def address(typing, index):
    """Of words[index], for POSIX threads."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(_word(builder, args[0]), ir.IntType(8).as_pointer())

    return types.voidptr(types.intp), codegen


@intrinsic
def nothing(typing):
    """The null pointer."""

    def codegen(context, builder, signature, args):
        return ir.Constant(ir.IntType(8).as_pointer(), None)

    return types.voidptr(), codegen


@intrinsic
def pause(typing):
    """Tell the core that this is a loop that waits."""
    machine = platform.machine()

    def codegen(context, builder, signature, args):
        void = ir.VoidType()
        if machine in ("x86_64", "AMD64"):
            kind = ir.FunctionType(void, [])
            hint = builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind)
            builder.call(hint, [])
        elif machine in ("aarch64", "arm64"):
            kind = ir.FunctionType(void, [ir.IntType(32)])
            hint = builder.module.declare_intrinsic("llvm.aarch64.hint", (), kind)
            builder.call(hint, [ir.IntType(32)(1)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def call(typing, function, data, helper):
    """function(data, helper): two addresses, and 1 in a helper, 0 in the thread that launches."""

    def codegen(context, builder, signature, args):
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, ir.IntType(64)]).as_pointer()
        data = builder.inttoptr(args[1], pointer)
        builder.call(builder.inttoptr(args[0], kind), [data, args[2]])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


def _posix(name: str, *arguments: types.Type) -> Any:
    return types.ExternalFunction(name, types.int32(*arguments))


mutex_init = _posix("pthread_mutex_init", types.voidptr, types.voidptr)
mutex_lock = _posix("pthread_mutex_lock", types.voidptr)
mutex_unlock = _posix("pthread_mutex_unlock", types.voidptr)
cond_init = _posix("pthread_cond_init", types.voidptr, types.voidptr)
cond_wait = _posix("pthread_cond_wait", types.voidptr, types.voidptr)
cond_signal = _posix("pthread_cond_signal", types.voidptr)
cond_broadcast = _posix("pthread_cond_broadcast", types.voidptr)
sched_yield = _posix("sched_yield")
# Linux's own
sched_getcpu = _posix("sched_getcpu")
sched_setaffinity = _posix("sched_setaffinity", types.int32, types.uintp, types.voidptr)
ON_LINUX = sys.platform.startswith("linux")


# ---------------------------------------------------------------------------- launches and helpers

PREPARE, WAIT, SERVE, DISMISS = range(4)


def control(order, number):
    """What Python does with the pool, in one kernel: it is loaded in every process.

    PREPARE: make the locks, before anything else    WAIT: for `number` rounds, to be timed
    SERVE: be a helper, the system's thread `number`, until dismissed
    DISMISS: the helpers, after `number` rounds at most
    """
    if order == PREPARE:
        mutex_init(address(MUTEX), nothing())
        cond_init(address(WORK), nothing())
        cond_init(address(DONE), nothing())
    elif order == WAIT:
        for round in range(number):
            _look_away(round)
    elif order == SERVE:
        place = add(HELPERS, 1)
        if place < MOST_HELPERS:
            store(NUMBERS + place, number)
            store(CORE, -1)
        _serve()
    else:
        while not replace(OWNER, 0, 1) and number > 0:  # nobody launches from here on
            _look_away(number)
            number -= 1
        store(GATE, STOP)
        _wake(load(ASLEEP))


@register_jitable
def _look_away(round):
    """Wait for a moment; now and then, let a thread run that waits for this core, for it may be the
    one we wait for: the system likes to wake a helper on the core of its launch."""
    if round % 16 == 15:
        sched_yield()
    else:
        pause()


@register_jitable
def run(worker, data, tasks):
    """worker(data, helper) on as many threads as there are tasks for; here alone where a launch is
    under way already, of another Python thread or around this one."""
    threads = min(tasks, load(THREADS))
    if threads > 1 and replace(OWNER, 0, 1):
        _launch(worker, data, threads)
        store(OWNER, 0)
    else:
        call(worker, data, 0)


@register_jitable
def _launch(worker, data, threads):
    """Open the gate, work, close it, wait for those inside: then nobody uses `data` any more."""
    if ON_LINUX and load(APART) == 1:
        core = sched_getcpu()
        if core != load(CORE):
            _keep_off(core)
    store(JOB, worker)
    store(JOB + 1, data)
    store(GATE, OPEN + (threads - 1) * PLACE)
    _wake(threads - 1)
    call(worker, data, 0)
    inside = keep_bits(GATE, PLACE - 1) & (PLACE - 1)
    rounds = 0
    while inside > 0:
        if rounds < load(SPIN):
            rounds += 1
            _look_away(rounds)
        else:
            mutex_lock(address(MUTEX))
            store(WAITING, 1)
            while load(GATE) > 0:
                cond_wait(address(DONE), address(MUTEX))
            store(WAITING, 0)
            mutex_unlock(address(MUTEX))
        inside = load(GATE)


@register_jitable
def _keep_off(core):
    """Let no helper run on this core; the system's word that it cannot be is no reason to stop."""
    store(CORE, core)
    for i in range(_CORE_WORDS):
        allowed = load(ALLOWED + i)
        store(ALLOWED_HERE + i, allowed & ~(1 << (core % 64)) if core // 64 == i else allowed)
    for i in range(min(load(HELPERS), MOST_HELPERS)):
        number = load(NUMBERS + i)
        if number != 0:  # else it is about to say its number, and to ask for this again
            sched_setaffinity(number, 8 * _CORE_WORDS, address(ALLOWED_HERE))


@register_jitable
def _wake(places):
    """Wake as many of the helpers that sleep."""
    asleep = load(ASLEEP)
    if asleep > 0:
        # Whoever counted itself as asleep is waiting by now, or will see what the gate is.
        mutex_lock(address(MUTEX))
        mutex_unlock(address(MUTEX))
        if places < asleep:
            for _ in range(places):
                cond_signal(address(WORK))
        else:
            cond_broadcast(address(WORK))


@register_jitable
def _serve():
    """A helper's life: wait at the gate, come in, work, leave."""
    while True:
        rounds = 0
        gate = load(GATE)
        while gate < OPEN + PLACE:  # closed, or full
            if rounds < load(SPIN):
                rounds += 1
                _look_away(rounds)
            else:
                mutex_lock(address(MUTEX))
                add(ASLEEP, 1)
                while load(GATE) < OPEN + PLACE:
                    cond_wait(address(WORK), address(MUTEX))
                add(ASLEEP, -1)
                mutex_unlock(address(MUTEX))
                rounds = 0
            gate = load(GATE)
        if gate >= STOP:
            return
        if replace(GATE, gate, gate - PLACE + 1):
            # The job is that of the gate we came through: it stays while anyone is inside.
            call(load(JOB), load(JOB + 1), 1)
            if add(GATE, -1) == 1 and load(WAITING) == 1:  # the last one out, and it is closed
                mutex_lock(address(MUTEX))
                mutex_unlock(address(MUTEX))
                cond_signal(address(DONE))
