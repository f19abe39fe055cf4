"""What an owner spends in a day never exceeds the ceiling, even if servers die or are late."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from moa_mcp.domain.model import CallRecord, ChatCall, Draft, Run, Task, Usage
from moa_mcp.domain.preset import Preset
from moa_mcp.domain.spend import Spend
from moa_mcp.store.base import AdmittedRun, RunStore
from moa_mcp.store.daily_budget import (
    DAY_SECONDS,
    LEASE_SECONDS,
    DayReservation,
    OverBudget,
    ReservationRequest,
    day_of,
)
from moa_mcp.store.memory import MemoryStore
from moa_mcp.store.sqlite.liveness import ALIVE_SECONDS
from moa_mcp.store.sqlite.store import SqliteStore
from tests.state_machine import Machine, some

PLAN = Preset.model_validate({"layers": 1, "aggregator": "lab/agg"})
CAP = Spend(100, 1000, 10.0)
NOTHING = Spend()

servers = st.integers(0, 2)
numbers = count()


def wanted(
    usd: float, run_id: str = "r", owner: str = "ann", until: float = 100.0, calls: int = 1
) -> ReservationRequest:
    amount = Spend(calls, 1, usd)
    return ReservationRequest(owner, run_id, amount, amount, CAP, until)


async def reserve(store: RunStore, wanted: ReservationRequest) -> DayReservation:
    """What a run of its own gets, that is admitted for it."""
    run_id = f"r{next(numbers)}"
    admitted = await store.admit(Run(run_id, "p", PLAN, Task("Q?"), owner=wanted.owner), replace(wanted, run_id=run_id))
    assert isinstance(admitted, AdmittedRun)
    return admitted.reservation


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RunStore:
    if request.param == "memory":
        return MemoryStore(clock=lambda: 0.0)
    return SqliteStore(tmp_path / "runs.db", clock=lambda: 0.0)


async def test_what_is_reserved_is_not_there_for_another_run(store: RunStore) -> None:
    await reserve(store, wanted(7))

    with pytest.raises(OverBudget, match=r"\$4\.0000.*Left for today: \$3\.0000.*max_cost_usd_per_day"):
        await reserve(store, wanted(4))
    await store.aclose()


async def test_calls_are_counted_where_no_price_is_known(store: RunStore) -> None:
    await reserve(store, wanted(0, calls=60))

    with pytest.raises(OverBudget, match="max_calls_per_day"):
        await reserve(store, wanted(0, calls=60))
    await store.aclose()


async def test_what_a_run_did_not_use_is_given_back_and_a_second_settlement_changes_nothing(store: RunStore) -> None:
    reservation = await reserve(store, wanted(9))
    await store.settle(reservation, Spend(1, 1, 2.0))
    await store.settle(reservation, Spend(1, 1, 2.0))

    assert await store.spent("ann") == Spend(1, 1, 2.0)
    assert (await reserve(store, wanted(8))).amount.usd == 8
    await store.aclose()


async def test_a_run_gets_what_is_left_if_that_is_enough(store: RunStore) -> None:
    await reserve(store, wanted(9))

    reservation = await reserve(store, ReservationRequest("ann", "r2", Spend(1, 1, 0.5), Spend(1, 1, 5.0), CAP, 100.0))

    assert reservation.amount.usd == 1
    await store.aclose()


async def test_one_owners_day_is_not_anothers(store: RunStore) -> None:
    await reserve(store, wanted(10, owner="ann"))

    assert (await reserve(store, wanted(10, owner="bob"))).amount.usd == 10
    await store.aclose()


def asked(needs: Spend, at_most: Spend) -> ReservationRequest:
    return ReservationRequest("ann", "r2", needs, at_most, CAP, 100.0)


@pytest.mark.parametrize(
    ("spent", "reserved", "needs", "at_most", "message", "untold"),
    [
        (9, 0, 4, 4, r"needs about \$4\.0000\. Left for today: \$1\.0000 .*wait for tomorrow \(UTC\)", "to end"),
        (6, 4, 4, 4, r"\$6\.0000 spent, \$4\.0000 reserved.*Wait for one of these runs to end", "tomorrow"),
        (1, 8, 4, 4, r"\$1\.0000 spent, \$8\.0000 reserved.*Wait for one of these runs to end", "tomorrow"),
        (0, 0, 11, 11, r"needs about \$11\.0000.*Choose a smaller preset, or raise", "tomorrow|to end"),
        (
            0,
            10,
            0,
            5,
            r"is unknown.*its ceiling of \$5 is reserved.*today: \$0\.0000 .*Wait for one of these runs to end",
            "needs about|tomorrow",
        ),
        (10, 0, 0, 5, r"price of a model is unknown.*wait for tomorrow", "to end"),
    ],
)
async def test_a_refusal_says_what_is_spent_what_is_reserved_and_what_to_wait_for(
    store: RunStore, spent: int, reserved: int, needs: int, at_most: int, message: str, untold: str
) -> None:
    if spent:
        await store.settle(await reserve(store, wanted(spent)), Spend(1, 1, spent))
    if reserved:
        await reserve(store, wanted(reserved))

    with pytest.raises(OverBudget, match=rf"{message}.*max_cost_usd_per_day") as refused:
        await reserve(store, asked(Spend(1, 1, needs), Spend(1, 1, at_most)))
    assert not re.search(untold, str(refused.value))
    await store.aclose()


async def test_a_hold_grows_as_far_as_the_day_has_room(store: RunStore) -> None:
    await reserve(store, wanted(5))
    reservation = await reserve(store, wanted(2))

    grown = await store.write_ahead("none", [], reservation, Spend(1, 1, 4.0))
    assert grown is not None
    most = await store.write_ahead("none", [], grown, Spend(1, 1, 9.0))

    assert (grown.amount.usd, most and most.amount.usd) == (4, 5)
    with pytest.raises(OverBudget):
        await reserve(store, wanted(1))
    await store.aclose()


@dataclass(slots=True)
class Held:
    """A hold, and what is known of it: its server, what its run's journal has of it, what was sent by its own word.

    What a sweep has `booked` is None as long as the hold is live; once it is settled, or its run taken over, it is
    `over`.
    """

    hold: DayReservation
    run_id: str
    server: int
    until: float
    journal: Spend = NOTHING
    sent: Spend = NOTHING
    booked: Spend | None = None
    over: bool = False
    taken_over: bool = False

    @property
    def due(self) -> Spend:
        """The amount that is booked if no server settles it."""
        return self.journal.at_least(self.sent)


def quarters(number: int) -> Spend:
    """A call that costs so many quarters of a dollar: these add up exactly."""
    return Spend(1, 8, number / 4)


class Days(Machine):
    """Three servers on one file begin runs, write calls down, fall silent, are too late, and settle.

    `spent` is what is to be booked for each day, `settled` the holds that were settled by the servers that had them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.numbers = count(1)
        file = self.folder / "runs.db"
        self.servers = [SqliteStore(file, clock=lambda: self.now) for _ in range(3)]
        self.looked_at = 0
        self.books = SqliteStore(file, clock=lambda: self.looked_at * DAY_SECONDS)
        self.heard = [-ALIVE_SECONDS] * 3
        self.held: dict[str, Held] = {}
        self.spent: dict[int, Spend] = {}
        self.settled: list[str] = []

    def live(self) -> list[Held]:
        return [held for held in self.held.values() if held.booked is None and not held.over]

    def unsettled(self) -> list[str]:
        return [reservation for reservation, held in self.held.items() if not held.over]

    def done(self) -> list[str]:
        return self.settled

    def left_alone(self) -> list[str]:
        """Holds, settled or not, of runs whose server has fallen silent, with nothing written down since a sweep."""
        alone = {
            reservation: held
            for reservation, held in self.held.items()
            if not held.taken_over and not self.lives(held.server)
        }
        return [reservation for reservation, held in alone.items() if held.over or held.booked in {None, held.due}]

    def lives(self, server: int) -> bool:
        return self.now - self.heard[server] < ALIVE_SECONDS

    @initialize()
    def each_server_begins_a_run(self) -> None:
        for server in range(3):
            self.begin(server, 4)
        self.a_call_ends_in_each_run(1, 1)

    @rule(server=servers, usd=st.integers(1, 24))
    def begin(self, server: int, usd: int) -> None:
        run_id = f"r{next(self.numbers)}"
        run, asked = Run(run_id, "p", PLAN, Task("Q?"), owner="ann"), self.asked(run_id, usd)
        self.reserved(server, asked, lambda: self.servers[server].admit(run, asked))

    @precondition(lambda self: self.left_alone())
    @rule(reservation=some("left_alone"), server=servers, usd=st.integers(1, 24))
    def go_on(self, reservation: str, server: int, usd: int) -> None:
        """Another server takes over the run of one that has fallen silent for good."""
        held = self.held[reservation]
        if server == held.server:
            return
        asked = self.asked(held.run_id, usd)
        if self.reserved(server, asked, lambda: self.servers[server].claim("ann", held.run_id, asked)):
            held.taken_over = held.over = True

    def asked(self, run_id: str, usd: int) -> ReservationRequest:
        needs = Spend(2, 16, usd / 4)
        return ReservationRequest("ann", run_id, needs, needs, CAP, self.now + 10)

    def reserved(
        self, server: int, asked: ReservationRequest, reserve: Callable[[], Awaitable[AdmittedRun | Run | None]]
    ) -> bool:
        """What is over is booked first; then the rest of the day must have room, or nothing at all is done."""
        swept = [held for held in self.live() if self.is_over(held, server)]
        booked = sum((held.due for held in swept if held.hold.day == self.today), self.spent_on(self.today))
        going = (held.hold.amount for held in self.live() if held not in swept and held.hold.day == self.today)
        room = CAP.beyond(sum(going, booked))
        if asked.needs.beyond(room) != NOTHING:
            with pytest.raises(OverBudget):
                self.do(reserve)
            return False
        admitted = self.do(reserve)
        assert isinstance(admitted, AdmittedRun)
        assert admitted.reservation.amount == asked.at_most
        self.heard[server] = self.now
        for held in swept:
            held.booked = held.due
            self.book(held.hold.day, held.due)
        self.held[f"h{next(self.numbers)}"] = Held(admitted.reservation, asked.run_id, server, asked.until)
        return True

    def is_over(self, held: Held, server: int) -> bool:
        """Whether a sweep of that server settles the reservation."""
        alone = held.server != server and not self.lives(held.server)
        return alone or held.until + LEASE_SECONDS <= self.now

    @rule(number=st.integers(1, 8), under_way=st.sampled_from((0, 1, 30)))
    def a_call_ends_in_each_run(self, number: int, under_way: int) -> None:
        """And is written down with what comes next, though a hold may have been swept by now: then it is held again."""
        spend = quarters(number)
        for reservation in self.unsettled():
            held, call = self.held[reservation], ChatCall(f"1.{next(self.numbers)}", "aggregator", 1, 1, "lab/agg", ())
            record = CallRecord(call, Draft("d", usage=Usage(spend.tokens - 3, 3, spend.usd)), 1.0)
            held.journal += spend
            wants = held.journal + quarters(under_way)
            ahead = replace(held.hold, sent=wants)
            grown = self.grown(held, wants)
            write = partial(self.servers[held.server].write_ahead, held.run_id, [record], ahead, wants)
            assert self.do(write) == replace(ahead, amount=grown)
            held.hold, held.sent = replace(held.hold, amount=grown), wants.at_most(grown)

    def grown(self, held: Held, wants: Spend) -> Spend:
        """What a hold comes to that wants so much: no less than before, and no more than the day has room for."""
        day, before = held.hold.day, held.hold.amount
        if held.booked is not None:
            before = held.booked
            self.spent[day] = self.spent_on(day).beyond(held.booked)
            held.booked = None
        others = (one.hold.amount for one in self.live() if one is not held and one.hold.day == day)
        return before.at_least(wants.at_most(CAP.beyond(sum(others, self.spent_on(day)))))

    @precondition(lambda self: self.unsettled())
    @rule(reservation=some("unsettled"), lost=st.integers(0, 2))
    def settle(self, reservation: str, lost: int) -> None:
        """Book what was spent, including calls that are not in the journal, minus what a sweep has booked."""
        held = self.held[reservation]
        actual = sum((quarters(4) for _ in range(lost)), held.journal)
        self.do(lambda: self.servers[held.server].settle(held.hold, actual))
        held.over = True
        self.settled.append(reservation)
        self.book(held.hold.day, actual if held.booked is None else actual.beyond(held.booked))

    @rule(server=servers)
    def a_server_ends(self, server: int) -> None:
        """In order: it settles what its runs came to, and others may go on with these."""
        for reservation in self.unsettled():
            if self.held[reservation].server == server:
                self.settle(reservation, 0)
        self.time_passes(int(ALIVE_SECONDS), {server})

    @precondition(lambda self: self.settled)
    @rule(reservation=some("done"), server=servers, number=st.integers(0, 8))
    def settle_again(self, reservation: str, server: int, number: int) -> None:
        """A second settlement changes nothing, on any server and with any amount."""
        self.do(lambda: self.servers[server].settle(self.held[reservation].hold, quarters(number)))

    @rule(seconds=st.sampled_from((5, int(ALIVE_SECONDS), DAY_SECONDS)), silent=st.sets(servers))
    def time_passes(self, seconds: int, silent: set[int]) -> None:
        """Meanwhile all servers but the silent ones say that they are there."""
        self.now += seconds
        for server in {0, 1, 2} - silent:
            self.do(self.servers[server].heartbeat)
            self.heard[server] = self.now

    @precondition(lambda self: self.live())
    @rule(server=servers, silent=st.sets(servers))
    def a_lease_runs_out_and_is_swept(self, server: int, silent: set[int]) -> None:
        """Whoever begins the next run sweeps."""
        self.time_passes(10 + int(LEASE_SECONDS), silent)
        self.begin(server, 1)

    @property
    def today(self) -> int:
        return day_of(self.now)

    def spent_on(self, day: int) -> Spend:
        return self.spent.get(day, NOTHING)

    def book(self, day: int, amount: Spend) -> None:
        self.spent[day] = self.spent_on(day) + amount

    @invariant()
    def what_was_spent_is_booked_once(self) -> None:
        for day in range(self.today + 1):
            self.looked_at = day
            assert self.do(lambda: self.books.spent("ann")) == self.spent_on(day)
            assert self.do(lambda: self.books.spent("bob")) == NOTHING

    def teardown(self) -> None:
        for store in (*self.servers, self.books):
            self.do(store.aclose)
        super().teardown()


def test_spending_is_booked_once_and_the_ceiling_holds_even_if_servers_die_or_are_late() -> None:
    run_state_machine_as_test(Days, settings=settings(stateful_step_count=20))
