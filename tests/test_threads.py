"""Threads: same bits for any number of them, forks, concurrent calls, the GIL, and those who limit threads."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastloss as fl
from fastloss.kernels import _driver
from reference import DEFAULTS, predictions, targets

each_loss = pytest.mark.parametrize("loss", DEFAULTS, ids=repr)
BCE = fl.BinaryCrossEntropy()
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def bits(result):
    return [np.asarray(value).tobytes() for value in result]


def run(code, **environment):
    """What a new interpreter prints."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | environment
    return subprocess.run([sys.executable, "-c", code], env=environment, check=True, text=True, timeout=60,
                          capture_output=True).stdout.strip()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(4096,), (4097,), (50_001,), (7001, 3)])
@each_loss
def test_same_bits_for_every_number_of_threads(loss, shape, weighted):
    n = int(np.prod(shape))
    y, z = targets(loss, n).reshape(shape), predictions(loss, n).reshape(shape)
    w = np.random.default_rng(0).random(shape) if weighted else None
    for reduction in ("mean", "none"):
        expected = bits(loss.loss_gradient_hessian(y, z, sample_weight=w, reduction=reduction, n_threads=1))
        for n_threads in (*range(1, 9), 1000, None):
            got = loss.loss_gradient_hessian(y, z, sample_weight=w, reduction=reduction, n_threads=n_threads)
            assert bits(got) == expected


def test_same_bits_run_after_run_and_process_after_process():
    code = ("import fastloss as fl, numpy as np; z = np.random.default_rng(0).normal(size=100_000);"
            "v, g = fl.BinaryFocal(1.7).loss_gradient(z > 0, z); print(v.hex(), hash(g.tobytes()))")
    assert len({run(code, PYTHONHASHSEED="0", OMP_NUM_THREADS=n) for n in ("1", "2", "2", "8")}) == 1


@pytest.mark.parametrize(("asked", "count"), [
    ({}, "10000"), ({"OMP_WAIT_POLICY": "passive"}, "0"), ({"GOMP_SPINCOUNT": "77"}, "77"),
])
def test_threads_sleep_soon_unless_asked(asked, count):
    code = "import fastloss, os; print(os.environ.get('GOMP_SPINCOUNT'))"
    environment = os.environ | asked | {"OMP_DISPLAY_ENV": "VERBOSE"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, check=True, text=True, timeout=60,
                           capture_output=True)
    if "GOMP_SPINCOUNT" not in found.stderr:
        pytest.skip("not built with GCC's OpenMP")
    assert f"GOMP_SPINCOUNT = '{count}'" in found.stderr
    assert found.stdout.strip() == str(asked.get("GOMP_SPINCOUNT"))  # and nobody else's environment has changed


def test_set_and_get_num_threads():
    default = fl.get_num_threads()
    assert 1 <= default <= CPUS
    fl.set_num_threads(3)
    assert fl.get_num_threads() == 3
    y, z = targets(BCE, 100_000), predictions(BCE, 100_000)
    three = BCE.loss_gradient(y, z)
    fl.set_num_threads(1)
    assert bits(BCE.loss_gradient(y, z)) == bits(three)
    fl.set_num_threads(None)
    assert fl.get_num_threads() == default
    for bad, error in ((0, ValueError), (-2, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)):
        with pytest.raises(error, match="n must be"):
            fl.set_num_threads(bad)
    assert fl.get_num_threads() == default


@pytest.mark.skipif(not _driver.OPENMP, reason="a build without OpenMP has one thread")
@pytest.mark.parametrize(("value", "threads"), [("1", 1), ("3", 3), ("2,4", 2)])
def test_the_environment_sets_the_default(value, threads):
    assert run("import fastloss as fl; print(fl.get_num_threads())", OMP_NUM_THREADS=value) == str(threads)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin a process to CPUs")
def test_affinity_sets_the_default():
    cpu = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{cpu}}}); import fastloss as fl; print(fl.get_num_threads())"
    assert run(code) == "1"


def child(connection, y, z):
    connection.send((BCE.loss_gradient(y, z), BCE.loss_gradient(y, z, n_threads=4), fl.get_num_threads()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_after_a_parallel_call_keeps_working():
    y, z = targets(BCE, 200_000), predictions(BCE, 200_000)
    expected = BCE.loss_gradient(y, z, n_threads=4)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=child, args=(there, y, z))
    process.start()
    try:
        assert here.poll(20), "the forked process hangs"
        *results, _ = here.recv()
    finally:
        process.kill()
        process.join()
    for result in results:
        assert bits(result) == bits(expected)
    assert bits(BCE.loss_gradient(y, z, n_threads=4)) == bits(expected)  # and so does the parent


@pytest.mark.parametrize("n_threads", [1, 3])
def test_concurrent_calls_from_many_python_threads(n_threads):
    losses = DEFAULTS * 3
    arguments = [(targets(loss, 30_000, seed=i), predictions(loss, 30_000, seed=i)) for i, loss in enumerate(losses)]
    expected = [bits(loss.loss_gradient_hessian(*a)) for loss, a in zip(losses, arguments, strict=True)]

    def work(i):
        return all(bits(losses[i].loss_gradient_hessian(*arguments[i], n_threads=n_threads)) == expected[i]
                   for _ in range(5))

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(work, range(len(losses))))


def test_one_object_serves_many_threads_while_its_class_weights_move():
    weight = fl.DynamicClassWeight(2)
    loss = fl.BinaryCrossEntropy(class_weight=weight)
    y, z = targets(fl.Hinge(), 20_000), predictions(BCE, 20_000)

    def work(i):
        weight.update(y[i:])
        return loss(y, z)

    with ThreadPoolExecutor(8) as pool:
        assert np.isfinite(list(pool.map(work, range(50)))).all()


def test_the_gil_is_released():
    # A Python thread ticks while one long call runs: with the GIL held it could not.
    n = 5_000_000
    y, z = np.zeros(n), np.zeros(n)
    loss = fl.BinaryFocal(1.7)
    out = np.empty(n)
    during, done = [], threading.Event()

    def tick():
        while not done.is_set():
            during.append(time.perf_counter())
            time.sleep(0.0005)

    ticker = threading.Thread(target=tick)
    ticker.start()
    start = time.perf_counter()
    loss.loss_gradient(y, z, gradient_out=out, n_threads=1)
    stop = time.perf_counter()
    done.set()
    ticker.join()
    assert sum(start < t < stop for t in during) >= 3, f"no tick in {stop - start:.3f} s"


@pytest.mark.skipif(not _driver.OPENMP, reason="this build has no OpenMP: one thread")
def test_threadpoolctl_sees_and_limits():
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    BCE(np.zeros(10), np.zeros(10), n_threads=2)
    assert any(info["user_api"] == "openmp" for info in threadpoolctl.threadpool_info())
    with threadpoolctl.threadpool_limits(1):
        assert fl.get_num_threads() == 1
    assert fl.get_num_threads() >= 1
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert fl.get_num_threads() >= 1


def test_little_work_starts_no_threads():
    count = ("import os, fastloss as fl, numpy as np; threads = lambda: len(os.listdir('/proc/self/task'));"
             "before = threads(); fl.SquaredError()(np.zeros({n}), np.zeros({n}){extra}); print(threads() - before)")
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("this system does not list a process's threads")
    assert run(count.format(n=1000, extra=""), OMP_NUM_THREADS="4") == "0"
    if _driver.OPENMP:
        assert run(count.format(n=1_000_000, extra=""), OMP_NUM_THREADS="4") == "3"
        assert run(count.format(n=1_000_000, extra=", n_threads=2"), OMP_NUM_THREADS="4") == "1"
