"""What all tests share: shape checks on the book, one thread, the benchmark data, differences.

The shape annotations of `scratchformer.transformer` (jaxtyping) are enforced at every call
(beartype) of its own tests: the hook has to be in place before the first import of the package.
Other rooms call the same functions, and small models are 3 times as fast unchecked.
SHAPE_CHECKS=off in the environment leaves the checks out.
"""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jaxtyping import config as shape_checks
from jaxtyping import install_import_hook

assert "scratchformer.transformer" not in sys.modules, "imported before the shape checks"
if os.environ.get("SHAPE_CHECKS") != "off":
    install_import_hook("scratchformer.transformer", "beartype.beartype")

ROOT = Path(__file__).parents[1]

# Collecting imports every library, and nothing of it is garbage: looking costs a fifth of the time.
gc.disable()


# Children of a shell's background job ignore Ctrl-C, and so would the stages that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


LONGEST_FIRST = ("tests/pipeline", "tests/survival", "tests/tracking")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole pipelines first, then files with slow tests, so that no worker is left alone with a
    long file at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(
        key=lambda item: (not item.nodeid.startswith(LONGEST_FIRST), item.path not in slow)
    )


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def shapes_are_checked(request: pytest.FixtureRequest) -> None:
    """In the tests of the book only."""
    elsewhere = not request.node.nodeid.startswith("tests/transformer/")
    shape_checks.update("jaxtyping_disable", elsewhere)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, and sums keep their order.

    Set again after each test: a stage that a test calls takes the number from params.yaml.
    """
    import torch

    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Benchmark data that lies beside the repository; tests that need it skip without it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the benchmark data in {folder}")
    return folder


class Agreement:
    """Asserts that two tensors are equal within a bound, and keeps the largest difference seen."""

    def __init__(self) -> None:
        self.comparisons: dict[str, int] = {}
        self.largest: dict[str, float] = {}
        self.bounds: dict[str, float] = {}

    def __call__(self, kind: str, ours: Any, theirs: Any, bound: float) -> None:
        assert ours.shape == theirs.shape, f"{kind}: {ours.shape} is not {theirs.shape}"
        difference = (ours - theirs).abs().max().item() if ours.numel() else 0.0
        self.comparisons[kind] = self.comparisons.get(kind, 0) + 1
        self.largest[kind] = max(self.largest.get(kind, 0.0), difference)
        self.bounds[kind] = bound
        assert difference <= bound, f"{kind}: largest difference {difference:.3g}, not ≤ {bound}"


AGREEMENT = Agreement()


@pytest.fixture(scope="session")
def agree() -> Agreement:
    """agree(kind, ours, theirs, bound); the summary of the test run lists every kind."""
    return AGREEMENT


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands what it compared to the process that writes the summary."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["agreement"] = vars(AGREEMENT)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Join what a worker compared (pytest-xdist)."""
    compared = getattr(node, "workeroutput", {}).get("agreement", {})
    for kind, largest in compared.get("largest", {}).items():
        AGREEMENT.largest[kind] = max(AGREEMENT.largest.get(kind, 0.0), largest)
        AGREEMENT.bounds[kind] = compared["bounds"][kind]
        known = AGREEMENT.comparisons.get(kind, 0)
        AGREEMENT.comparisons[kind] = known + compared["comparisons"][kind]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if AGREEMENT.largest:
        terminalreporter.section("equivalence: comparisons and largest differences")
    for kind, largest in sorted(AGREEMENT.largest.items()):
        comparisons, bound = AGREEMENT.comparisons[kind], AGREEMENT.bounds[kind]
        terminalreporter.line(f"{kind:<58} {comparisons:>5}  {largest:8.1e} ≤ {bound:.0e}")
