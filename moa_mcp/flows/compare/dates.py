"""Read dates that name their month, or are in the order of ISO 8601; other dates of numbers have two meanings."""

from __future__ import annotations

import re

_MONTHS = (
    "jan januar january enero janvier janeiro января", "feb februar february febrero février fevereiro февраля",
    "mar märz march marzo mars março марта", "apr april abril avril апреля", "may mai mayo maio мая",
    "jun juni june junio juin junho июня", "jul juli july julio juillet julho июля", "aug august agosto août августа",
    "sep sept september septiembre septembre setembro сентября",
    "oct okt oktober october octubre octobre outubro октября",
    "nov november noviembre novembre novembro ноября", "dec dez dezember december diciembre décembre dezembro декабря",
)  # fmt: skip
_NUMBERS = {name: number for number, names in enumerate(_MONTHS, start=1) for name in names.split()}
_MONTH = r"([^\W\d_]{3,12})\.?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th|er|\.|º|°)?"
_DAY_FIRST = re.compile(rf"{_DAY} (?:of |de )?{_MONTH},?(?: de| del)? (\d{{1,4}})(?: года)?", re.IGNORECASE)
_MONTH_FIRST = re.compile(rf"{_MONTH} {_DAY},? (\d{{1,4}})", re.IGNORECASE)
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})|(\d{4})\s?年\s?(\d{1,2})\s?月\s?(\d{1,2})\s?日")


def read_date(text: str) -> str | None:
    """A date as `YYYY-MM-DD`; None if `text` is anything else."""
    if found := _ISO.fullmatch(text):
        year, month, day = (int(part) for part in found.groups() if part)
    elif found := _DAY_FIRST.fullmatch(text):
        day, month, year = int(found[1]), _NUMBERS.get(found[2].casefold(), 0), int(found[3])
    elif found := _MONTH_FIRST.fullmatch(text):
        month, day, year = _NUMBERS.get(found[1].casefold(), 0), int(found[2]), int(found[3])
    else:
        return None
    return f"{year:04}-{month:02}-{day:02}" if 1 <= month <= 12 and 1 <= day <= 31 else None
