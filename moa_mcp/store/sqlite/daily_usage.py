"""The daily budget in SQLite: what is done to its two tables within one transaction each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

from moa_mcp.domain.spend import Spend
from moa_mcp.store.codec import decode_record
from moa_mcp.store.daily_budget import LEASE_SECONDS, DayReservation, ReservationRequest, day_of, enlarged, grant

IsAlive = Callable[[sqlite3.Connection, str], bool]
"""Whether the server of that id is alive."""

KEEP_DAYS = 35

_SWEPT = 2
"""What `booked` says of a record that a sweep has booked, and 1 of one that is booked for good; 0 of all others."""


def reserve(
    db: sqlite3.Connection, wanted: ReservationRequest, server: str, now: float, is_alive: IsAlive
) -> DayReservation:
    """Set aside what a run may come to, after the holds of the dead were booked. Raises OverBudget."""
    day = day_of(now)
    settle_expired(db, wanted.owner, now, server, is_alive)
    amount = grant(wanted, spent(db, wanted.owner, day), _reserved(db, wanted.owner, day))
    reservation = DayReservation(uuid4().hex, wanted.owner, day, amount, wanted.cap, wanted.first)
    # What a sweep has booked of a run that is taken over stays booked.
    db.execute("UPDATE records SET booked = 1 WHERE run_id = ? AND booked = ?", (wanted.run_id, _SWEPT))
    row = (reservation.id, wanted.owner, day, wanted.run_id, server, wanted.until + LEASE_SECONDS)
    db.execute("INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)", (*row, *_numbers(reservation)))
    return reservation


def book(db: sqlite3.Connection, reservation: DayReservation, amount: Spend) -> DayReservation:
    """Book what a run has sent and is about to send, and let its hold grow to `amount` as far as the day has room.

    One that a sweep has booked already is taken out of the books and held again.
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
        others = _reserved(db, reservation.owner, reservation.day, but=reservation.id)
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
    """Book what a run came to, less what a sweep has booked for it already."""
    row = db.execute("SELECT live, run_id, calls, tokens, usd FROM holds WHERE hold = ?", (reservation.id,)).fetchone()
    if row is None:
        return
    live, run_id, *booked = row
    db.execute("DELETE FROM holds WHERE hold = ?", (reservation.id,))
    db.execute("UPDATE records SET booked = 1 WHERE run_id = ?", (run_id,))
    _book(db, reservation.owner, reservation.day, actual if live else actual.beyond(Spend(*booked)))


def spent(db: sqlite3.Connection, owner: str, day: int) -> Spend:
    """What is booked for an owner's day."""
    found = db.execute("SELECT calls, tokens, usd FROM days WHERE owner = ? AND day = ?", (owner, day)).fetchone()
    return Spend(*found) if found else Spend()


def settle_all_expired(db: sqlite3.Connection, now: float, server: str, is_alive: IsAlive) -> None:
    """`settle_expired` for every owner, before journals go, since a hold is booked by its run's; and forget days long
    past.
    """
    for (owner,) in db.execute("SELECT DISTINCT owner FROM holds WHERE live").fetchall():
        settle_expired(db, owner, now, server, is_alive)
    _delete_old_days(db, day_of(now))


def settle_expired(db: sqlite3.Connection, owner: str, now: float, server: str, is_alive: IsAlive) -> None:
    """Book the owner's holds whose server is gone, or whose time is over, at what the journal says or was sent.

    `server` is the one that asks: it lives, so its own holds need no look before their time is over.
    """
    doubtful = (
        "SELECT hold, day, run_id, server, until, sent_calls, sent_tokens, sent_usd FROM holds"
        " WHERE owner = ? AND live AND (server != ? OR until <= ?)"
    )
    for reservation, day, run_id, holder, until, *sent in db.execute(doubtful, (owner, server, now)).fetchall():
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
    """A hold's amount, and what is booked of it as sent, which is within that."""
    amount, sent = reservation.amount, reservation.sent.at_most(reservation.amount)
    return amount.calls, amount.tokens, amount.usd, sent.calls, sent.tokens, sent.usd


def _reserved(db: sqlite3.Connection, owner: str, day: int, but: str = "") -> Spend:
    """What the live holds of an owner's day come to, without one of them."""
    held = (
        "SELECT coalesce(sum(calls), 0), coalesce(sum(tokens), 0), coalesce(sum(usd), 0.0)"
        " FROM holds WHERE owner = ? AND day = ? AND live AND hold != ?"
    )
    return Spend(*db.execute(held, (owner, day, but)).fetchone())


def _delete_old_days(db: sqlite3.Connection, day: int) -> None:
    db.execute("DELETE FROM days WHERE day < ?", (day - KEEP_DAYS,))
    db.execute("DELETE FROM holds WHERE NOT live AND day < ?", (day - KEEP_DAYS,))
