"""What an owner spends in a day never passes the ceiling, whoever reserves, dies or is late."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, invariant, multiple, rule

from moa_mcp.model import Call, CallRecord, Draft, Run, Task, Usage
from moa_mcp.preset import Preset
from moa_mcp.store.base import RunStore
from moa_mcp.store.ledger import Hold, OverBudget, Spend, Wanted
from moa_mcp.store.memory import MemoryStore
from moa_mcp.store.sqlite import SqliteStore

Result = TypeVar("Result")

PLAN = Preset.model_validate({"layers": 1, "aggregator": "lab/agg"})
CAP = Spend(100, 1000, 10.0)


def wanted(usd: float, run_id: str = "r", owner: str = "ann", until: float = 100.0, calls: int = 1) -> Wanted:
    amount = Spend(calls, 1, usd)
    return Wanted(owner, run_id, amount, amount, CAP, until)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RunStore:
    if request.param == "memory":
        return MemoryStore(clock=lambda: 0.0)
    return SqliteStore(tmp_path / "runs.db", clock=lambda: 0.0)


async def test_what_is_reserved_is_not_there_for_another_run(store: RunStore) -> None:
    await store.reserve(wanted(7))

    with pytest.raises(OverBudget, match=r"\$4\.0000.*\$3\.0000 is left.*max_cost_usd_per_day"):
        await store.reserve(wanted(4))
    await store.aclose()


async def test_calls_are_counted_where_no_price_is_known(store: RunStore) -> None:
    await store.reserve(wanted(0, calls=60))

    with pytest.raises(OverBudget, match="max_calls_per_day"):
        await store.reserve(wanted(0, calls=60))
    await store.aclose()


async def test_what_a_run_did_not_use_is_given_back_and_a_second_settlement_changes_nothing(store: RunStore) -> None:
    hold = await store.reserve(wanted(9))
    await store.settle(hold, Spend(1, 1, 2.0))
    await store.settle(hold, Spend(1, 1, 2.0))

    assert await store.spent("ann") == Spend(1, 1, 2.0)
    assert (await store.reserve(wanted(8))).amount.usd == 8
    await store.aclose()


async def test_a_run_gets_what_is_left_if_that_is_enough(store: RunStore) -> None:
    await store.reserve(wanted(9))

    hold = await store.reserve(Wanted("ann", "r2", Spend(1, 1, 0.5), Spend(1, 1, 5.0), CAP, 100.0))

    assert hold.amount.usd == 1
    await store.aclose()


async def test_one_owners_day_is_not_anothers(store: RunStore) -> None:
    await store.reserve(wanted(10, owner="ann"))

    assert (await store.reserve(wanted(10, owner="bob"))).amount.usd == 10
    await store.aclose()


class Day(RuleBasedStateMachine):
    """Three servers on one file reserve, settle and let their leases run out."""

    holds: Bundle[tuple[Hold, int]] = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.now = 0.0
        self.number = 0
        file = Path(self.folder.name) / "runs.db"
        self.servers = [SqliteStore(file, clock=lambda: self.now) for _ in range(3)]
        self.reserved: dict[str, float] = {}

    def do(self, work: Callable[[], Awaitable[Result]]) -> Result:
        return anyio.run(work)

    @rule(target=holds, server=st.integers(0, 2), usd=st.integers(0, 6))
    def reserve(self, server: int, usd: int) -> tuple[Hold, int] | MultipleResults[tuple[Hold, int]]:
        self.number += 1
        run_id, store = f"r{self.number}", self.servers[server]

        async def begin() -> Hold:
            hold = await store.reserve(wanted(usd, run_id, until=self.now + 10))
            await store.begin(Run(run_id, "p", PLAN, Task("Q?"), owner="ann"))
            return hold

        try:
            hold = self.do(begin)
        except OverBudget:
            return multiple()
        self.reserved[hold.id] = usd
        return hold, self.number

    @rule(held=holds, part=st.floats(0, 0.5))
    def draft(self, held: tuple[Hold, int], part: float) -> None:
        hold, number = held
        usage = Usage(0, 0, part * hold.amount.usd)
        record = CallRecord(Call("1.1", "aggregator", 1, 1, "lab/agg", ()), Draft("d", usage=usage), 1.0)
        self.do(lambda: self.servers[0].add_record(f"r{number}", record))

    @rule(held=consumes(holds), server=st.integers(0, 2), part=st.floats(0.5, 1))
    def settle(self, held: tuple[Hold, int], server: int, part: float) -> None:
        hold, _ = held
        if hold.id in self.reserved:
            actual = Spend(1, 1, part * hold.amount.usd)
            self.do(lambda: self.servers[server].settle(hold, actual))
            del self.reserved[hold.id]

    @rule(seconds=st.integers(60, 90))
    def time_passes(self, seconds: int) -> None:
        """Only as long as no late run may come back: a lease is far longer than its run."""
        self.now += seconds
        self.reserved.clear()

    @invariant()
    def the_ceiling_holds(self) -> None:
        spent = self.do(lambda: self.servers[1].spent("ann"))
        assert spent.usd + sum(self.reserved.values()) <= CAP.usd + 1e-9
        assert self.do(lambda: self.servers[2].spent("bob")) == Spend()

    def teardown(self) -> None:
        for server in self.servers:
            self.do(server.aclose)
        self.folder.cleanup()


Day.TestCase.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
test_the_ceiling_holds_whoever_reserves_settles_or_dies = Day.TestCase
