"""Read numbers with their units, and times of day, as people write them in many languages.

What can be read in two ways is read in the more usual one: `1,250` has a thousands separator and `1,25` a decimal
comma. `1.250` is a decimal, but for money, which nobody writes with three decimals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from moa_mcp.flows.compare.units import CURRENCIES, is_unit, split_magnitude, usual_unit

MAX_EXPONENT = 400
"""Larger powers of ten are not read as numbers: their digits would take too much room."""

_DIGITS = (
    r"(?:\d{1,3}(?:,\d{2,3}){1,12}(?:\.\d{1,40})?|\d{1,3}(?:\.\d{3}){1,12}(?:,\d{1,40})?"
    r"|\d{1,3}(?:[ ']\d{3}){1,12}(?:[.,]\d{1,40})?|\d{0,40}[.,]\d{1,40}|\d{1,60}[.,]?)"
)
_POWER = r"(?:[eE]([+-]?\d{1,4})|\s?(?:[*x]\s?)10\s?\^\s?\(?([+-]?\d{1,4})\)?)"
_DIVISOR = r"\s?/\s?\(?(\d{1,40}(?:\.\d{1,20})?)\)?"
_CURRENCY = r"(US\$|R\$|[$€£¥₹₽])?\s?"
_MIXED = r"(?:(\d{1,9}) (?=\d{1,9}/\d))?"
_NUMBER = re.compile(
    rf"{_CURRENCY}([+-]?)\s?{_CURRENCY}{_MIXED}\(?({_DIGITS})\)?(?:{_POWER}|{_DIVISOR})?(?![\d.,]*\d)", re.ASCII
)
"""A number, with a currency before it, and a fraction or a power of ten."""
_POWER_OF_TEN = re.compile(r"([+-]?)10\s?\^\s?\(?([+-]?\d{1,4})\)?")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3}){1,12}|\d{1,2}(?:,\d{2}){1,12},\d{3}")
_TIME = re.compile(
    r"(\d{1,2})(?:[:h](\d{2})(?::(\d{2}))?)?\s?([ap])?\.?(m)?\.?(?:\s?(?:uhr|h|hs|hours))?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and its unit in the usual spelling; the unit is empty if there is none."""

    value: Fraction
    unit: str = ""

    def __str__(self) -> str:
        return f"{decimal(self.value)} {self.unit}".strip()


def read_quantity(text: str) -> Quantity | None:
    """The number that `text`, which `write_plainly` wrote, consists of, with at most one unit; else None.

    A percentage is the number itself: `50%` is 1/2.
    """
    if power := _POWER_OF_TEN.fullmatch(text):
        return _scaled(Fraction(-1 if power[1] == "-" else 1), int(power[2]), "")
    found = _NUMBER.match(text)
    if found is None or not any(map(str.isdigit, found[0])):
        return None
    before, sign, inner, mixed, digits, exponent, power_of_ten, divisor = found.groups()
    rest = text[found.end() :]
    if rest and not is_unit(rest):
        return None
    magnitude, rest = split_magnitude(rest.strip())
    unit = usual_unit(rest or before or inner or "")
    value = _read_digits(digits, is_money=unit in CURRENCIES)
    if value is None or (divisor is not None and Fraction(divisor) == 0):
        return None
    value = magnitude * (value / Fraction(divisor or 1) + int(mixed or 0)) * (-1 if sign == "-" else 1)
    return _scaled(value, int(exponent or power_of_ten or 0) - 2 * (unit == "%"), "" if unit == "%" else unit)


def read_time(text: str) -> str | None:
    """A time of day as `HH:MM` or `HH:MM:SS`; None for anything else, also for a bare number."""
    found = _TIME.fullmatch(text)
    if found is None or not (found[2] or (found[4] and found[5])):
        return None
    hour, minute = int(found[1]), int(found[2] or 0)
    if found[4]:
        hour = hour % 12 + (12 if found[4].lower() == "p" else 0)
    if hour > 24 or minute > 59:
        return None
    return f"{hour:02}:{minute:02}" + (f":{found[3]}" if found[3] else "")


def decimal(value: Fraction) -> str:
    """A number as a decimal if it ends within 30 places, else as a fraction."""
    places = next((places for places in range(31) if 10**places % value.denominator == 0), None)
    if places is None:
        return str(value)
    digits = str(abs(int(value * 10**places))).zfill(places + 1)
    point = len(digits) - places
    return f"{'-' if value < 0 else ''}{digits[:point]}{'.' if places else ''}{digits[point:]}"


def _scaled(value: Fraction, exponent: int, unit: str) -> Quantity | None:
    return Quantity(value * Fraction(10) ** exponent, unit) if abs(exponent) <= MAX_EXPONENT else None


def _read_digits(digits: str, *, is_money: bool) -> Fraction | None:
    digits = digits.replace(" ", "").replace("'", "").rstrip(".,")
    whole, point, rest = digits.rpartition("." if digits.rfind(".") > digits.rfind(",") else ",")
    if not point:
        return Fraction(digits)
    other = "," if point == "." else "."
    if other in whole:  # two kinds: the last one is the decimal one
        return Fraction(f"{whole.replace(other, '')}.{rest}") if point not in whole else None
    if point in whole:  # several of one kind: thousands
        return Fraction(digits.replace(point, "")) if point == "." or _GROUPED.fullmatch(digits) else None
    if len(rest) == 3 and 0 < len(whole) <= 3 and whole.strip("0") and (point == "," or is_money):
        return Fraction(whole + rest)
    return Fraction(f"{whole or 0}.{rest}")
