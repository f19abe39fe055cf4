"""The daily budget in SQLite. Each function works on its two tables within the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

from moa_mcp.domain.spend import Spend
from moa_mcp.store.codec import decode_record
from moa_mcp.store.daily_budget import LEASE_SECONDS, DayReservation, ReservationRequest, day_of, enlarged, grant

IsAlive = Callable[[sqlite3.Connection, str], bool]
"""Returns whether the server with that id is alive."""

KEEP_DAYS = 35

_SWEPT = 2
"""Value of `booked` for a record that a sweep booked (see `settle_expired`). 1: booked finally. 0: not booked."""


def reserve(
    db: sqlite3.Connection, wanted: ReservationRequest, server: str, now: float, is_alive: IsAlive
) -> DayReservation:
    """Reserve budget for a run, after settling the expired reservations of its owner. Raises OverBudget."""
    day = day_of(now)
    settle_expired(db, wanted.owner, now, server, is_alive)
    amount = grant(wanted, spent(db, wanted.owner, day), _sum_reserved(db, wanted.owner, day))
    reservation = DayReservation(uuid4().hex, wanted.owner, day, amount, wanted.cap, wanted.first)
    # If this run is taken over, what a sweep booked for it stays booked.
    db.execute("UPDATE records SET booked = 1 WHERE run_id = ? AND booked = ?", (wanted.run_id, _SWEPT))
    row = (reservation.id, wanted.owner, day, wanted.run_id, server, wanted.until + LEASE_SECONDS)
    db.execute("INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)", (*row, *_numbers(reservation)))
    return reservation


def book(db: sqlite3.Connection, reservation: DayReservation, amount: Spend) -> DayReservation:
    """Book what a run has sent and is about to send, and let its reservation grow to `amount` if the day has room.

    If a sweep has booked the reservation already, that booking is undone, and the amount is reserved again.
    """
    row = db.execute("SELECT live, run_id, calls, tokens, usd FROM holds WHERE hold = ?", (reservation.id,)).fetchone()
    if row is None:
        return reservation
    live, run_id, *numbers = row
    reservation = replace(reservation, amount=Spend(*numbers))
    if not live:
        db.execute("UPDATE records SET booked = 0 WHERE run_id = ? AND booked = ?", (run_id, _SWEPT))
        _book(db, reservation.owner, reservation.day, Spend(*(-number for number in numbers)))
    if not live or not reservation.amount.covers(amount):
        others = _sum_reserved(db, reservation.owner, reservation.day, but=reservation.id)
        reservation = replace(
            reservation, amount=enlarged(reservation, amount, spent(db, reservation.owner, reservation.day), others)
        )
    db.execute(
        "UPDATE holds SET live = 1, calls = ?, tokens = ?, usd = ?, sent_calls = ?, sent_tokens = ?, sent_usd = ?"
        " WHERE hold = ?",
        (*_numbers(reservation), reservation.id),
    )
    return reservation


def settle(db: sqlite3.Connection, reservation: DayReservation, actual: Spend) -> None:
    """Book the actual usage of a run, minus what a sweep has already booked for it."""
    row = db.execute("SELECT live, run_id, calls, tokens, usd FROM holds WHERE hold = ?", (reservation.id,)).fetchone()
    if row is None:
        return
    live, run_id, *booked = row
    db.execute("DELETE FROM holds WHERE hold = ?", (reservation.id,))
    db.execute("UPDATE records SET booked = 1 WHERE run_id = ?", (run_id,))
    _book(db, reservation.owner, reservation.day, actual if live else actual.beyond(Spend(*booked)))


def spent(db: sqlite3.Connection, owner: str, day: int) -> Spend:
    """Return what is booked for the owner and day."""
    found = db.execute("SELECT calls, tokens, usd FROM days WHERE owner = ? AND day = ?", (owner, day)).fetchone()
    return Spend(*found) if found else Spend()


def settle_all_expired(db: sqlite3.Connection, now: float, server: str, is_alive: IsAlive) -> None:
    """Call `settle_expired` for every owner, and delete old days.

    Call this before runs are deleted: a reservation is settled from the journal of its run.
    """
    for (owner,) in db.execute("SELECT DISTINCT owner FROM holds WHERE live").fetchall():
        settle_expired(db, owner, now, server, is_alive)
    oldest = day_of(now) - KEEP_DAYS
    db.execute("DELETE FROM days WHERE day < ?", (oldest,))
    db.execute("DELETE FROM holds WHERE NOT live AND day < ?", (oldest,))


def settle_expired(db: sqlite3.Connection, owner: str, now: float, server: str, is_alive: IsAlive) -> None:
    """Settle the owner's reservations whose server is gone or whose time is over (a sweep).

    The larger of the usage in the journal and the amount booked as sent is booked. `server` is the server that calls
    this: it is alive, so its own reservations are not checked before their time is over.
    """
    query = (
        "SELECT hold, day, run_id, server, until, sent_calls, sent_tokens, sent_usd FROM holds"
        " WHERE owner = ? AND live AND (server != ? OR until <= ?)"
    )
    for reservation, day, run_id, holder, until, *sent in db.execute(query, (owner, server, now)).fetchall():
        if until > now and is_alive(db, holder):
            continue
        journal = db.execute("SELECT body FROM records WHERE run_id = ? AND NOT booked", (run_id,))
        actual = Spend.on([decode_record(body) for (body,) in journal]).at_least(Spend(*sent))
        db.execute("UPDATE records SET booked = ? WHERE run_id = ? AND NOT booked", (_SWEPT, run_id))
        db.execute(
            "UPDATE holds SET live = 0, calls = ?, tokens = ?, usd = ? WHERE hold = ?",
            (actual.calls, actual.tokens, actual.usd, reservation),
        )
        _book(db, owner, day, actual)


def _book(db: sqlite3.Connection, owner: str, day: int, amount: Spend) -> None:
    db.execute(
        "INSERT INTO days VALUES (?, ?, ?, ?, ?) ON CONFLICT (owner, day) DO UPDATE SET"
        " calls = calls + excluded.calls, tokens = tokens + excluded.tokens, usd = usd + excluded.usd",
        (owner, day, amount.calls, amount.tokens, amount.usd),
    )


def _numbers(reservation: DayReservation) -> tuple[float, ...]:
    """Return the reserved amount and the part that is booked as sent, which is limited to that amount."""
    amount, sent = reservation.amount, reservation.sent.at_most(reservation.amount)
    return amount.calls, amount.tokens, amount.usd, sent.calls, sent.tokens, sent.usd


def _sum_reserved(db: sqlite3.Connection, owner: str, day: int, but: str = "") -> Spend:
    """Return the sum of the live reservations of an owner and day, without the reservation `but`."""
    query = (
        "SELECT coalesce(sum(calls), 0), coalesce(sum(tokens), 0), coalesce(sum(usd), 0.0)"
        " FROM holds WHERE owner = ? AND day = ? AND live AND hold != ?"
    )
    return Spend(*db.execute(query, (owner, day, but)).fetchone())
