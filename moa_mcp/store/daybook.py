"""The day ledger in SQLite: what is done to its two tables within one transaction each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from uuid import uuid4

from moa_mcp.store.codec import decode_record
from moa_mcp.store.ledger import LEASE_SECONDS, Hold, Spend, Wanted, day_of, granted

Lives = Callable[[sqlite3.Connection, str], bool]
"""Whether the server of that id is alive."""

KEPT_DAYS = 35


def reserve(db: sqlite3.Connection, wanted: Wanted, server: str, now: float, lives: Lives) -> Hold:
    """Set aside what a run may come to, after the holds of the dead were booked. Raises OverBudget."""
    day = day_of(now)
    sweep(db, wanted.owner, now, server, lives)
    held = (
        "SELECT coalesce(sum(calls), 0), coalesce(sum(tokens), 0), coalesce(sum(usd), 0.0)"
        " FROM holds WHERE owner = ? AND day = ? AND live"
    )
    reserved = Spend(*db.execute(held, (wanted.owner, day)).fetchone())
    amount = granted(wanted, spent(db, wanted.owner, day), reserved)
    hold = Hold(uuid4().hex, wanted.owner, day, amount)
    row = (hold.id, wanted.owner, day, wanted.run_id, server, wanted.until + LEASE_SECONDS)
    db.execute(
        "INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?)",
        (*row, amount.calls, amount.tokens, amount.usd),
    )
    return hold


def settle(db: sqlite3.Connection, hold: Hold, actual: Spend) -> None:
    """Book what a run came to, less what a sweep has booked for it already."""
    row = db.execute("SELECT live, run_id, calls, tokens, usd FROM holds WHERE hold = ?", (hold.id,)).fetchone()
    if row is None:
        return
    live, run_id, *booked = row
    db.execute("DELETE FROM holds WHERE hold = ?", (hold.id,))
    db.execute("UPDATE records SET booked = 1 WHERE run_id = ?", (run_id,))
    _book(db, hold.owner, hold.day, actual if live else actual.beyond(Spend(*booked)))


def spent(db: sqlite3.Connection, owner: str, day: int) -> Spend:
    """What is booked for an owner's day."""
    found = db.execute("SELECT calls, tokens, usd FROM days WHERE owner = ? AND day = ?", (owner, day)).fetchone()
    return Spend(*found) if found else Spend()


def sweep_all(db: sqlite3.Connection, now: float, server: str, lives: Lives) -> None:
    """`sweep` for every owner, before journals go, since a hold is booked by its run's; and forget days long past."""
    for (owner,) in db.execute("SELECT DISTINCT owner FROM holds WHERE live").fetchall():
        sweep(db, owner, now, server, lives)
    _forget_the_past(db, day_of(now))


def sweep(db: sqlite3.Connection, owner: str, now: float, server: str, lives: Lives) -> None:
    """Book the owner's holds whose server is gone, or whose time is over, at what the journal says.

    `server` is the one that asks: it lives, so its own holds need no look before their time is over.
    """
    doubtful = (
        "SELECT hold, day, run_id, server, until FROM holds WHERE owner = ? AND live AND (server != ? OR until <= ?)"
    )
    for hold, day, run_id, holder, until in db.execute(doubtful, (owner, server, now)).fetchall():
        if until > now and lives(db, holder):
            continue
        journal = db.execute("SELECT body FROM records WHERE run_id = ? AND NOT booked", (run_id,))
        actual = Spend.on([decode_record(body) for (body,) in journal])
        db.execute("UPDATE records SET booked = 1 WHERE run_id = ?", (run_id,))
        db.execute(
            "UPDATE holds SET live = 0, calls = ?, tokens = ?, usd = ? WHERE hold = ?",
            (actual.calls, actual.tokens, actual.usd, hold),
        )
        _book(db, owner, day, actual)


def _book(db: sqlite3.Connection, owner: str, day: int, amount: Spend) -> None:
    db.execute(
        "INSERT INTO days VALUES (?, ?, ?, ?, ?) ON CONFLICT (owner, day) DO UPDATE SET"
        " calls = calls + excluded.calls, tokens = tokens + excluded.tokens, usd = usd + excluded.usd",
        (owner, day, amount.calls, amount.tokens, amount.usd),
    )


def _forget_the_past(db: sqlite3.Connection, day: int) -> None:
    db.execute("DELETE FROM days WHERE day < ?", (day - KEPT_DAYS,))
    db.execute("DELETE FROM holds WHERE NOT live AND day < ?", (day - KEPT_DAYS,))
