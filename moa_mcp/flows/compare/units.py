"""Units and currencies in their usual spelling, and the words for large numbers."""

from __future__ import annotations

import re

MAX_UNSPACED_CHARS = 5
"""How many characters a unit has in a script without spaces between words."""

_CURRENCIES = """
$: usd, us$, dollar, dollars, dólares, dollari
€: eur, euro, euros, евро
£: gbp, pound, pounds
¥: jpy, yen, 円
元: cny, yuan
₹: inr, rupee, rupees
r$: brl, real, reais
₽: rub, руб, рубль, рубля, рублей
chf: franken
¢: cent, cents
"""
_MEASURES = """
%: percent, per cent, pct, prozent, процентов, por ciento, por cento, pour cent
°: deg, degree, degrees, grad, grados, graus, degrés, градусов, 度
°C: °c, degrees celsius
°F: °f, degrees fahrenheit
mm: millimeter, millimeters, millimetre, millimetres
cm: centimeter, centimeters, centimetre, centimetres, cms, см
m: meter, meters, metre, metres
km: kilometer, kilometers, kilometre, kilometres, kms, км, 公里
inch: in, inches
ft: foot, feet
mile: mi, miles
g: gram, grams
kg: kilogram, kilograms, kgs, kilo, kilos, кг
l: liter, liters, litre, litres
ml: milliliter, milliliters, millilitre, millilitres
s: second, seconds, sec, secs
min: minute, minutes, mins, 分钟
h: hour, hours, hr, hrs, 小时
day: days
year: years
N: newton, newtons
J: joule, joules
W: watt, watts
V: volt, volts
A: ampere, amperes, amps
cm^2: square centimeters, square centimetres, 平方厘米
m^2: square meters, square metres, sq m
cm^3: cubic centimeters, cubic centimetres
m^3: cubic meters, cubic metres
m/s: m/sec, meters per second, metres per second
km/h: kph, kmh, km/hr, km per hour, kilometers per hour, kilometres per hour
mph: miles per hour
"""
_SYMBOLS = frozenset(
    (
        "mm cm dm m km g mg kg t l L ml mL dl s ms min h d N kN J kJ W kW MW kWh V A K Hz kHz MHz GHz Pa kPa mol "
        "m/s km/h mph cm^2 m^2 km^2 mm^2 cm^3 m^3 m/s^2 g/cm^3 kg/m^3 ft yd lb oz KB MB GB TB"
    ).split()
)
_NO_UNIT = frozenset(
    (
        "or and not more less fewer than at to but if about when only is are o y e u ou et oder und или и plus "
        "minus of for below above under squared cubed factorial choose milliard milliarden milliards миллиардов "
        "миллиарда billón billones bilhão bilhões trillionen"
    ).split()
)
"""Words after a number that change it, or whose size depends on the language."""
_MAGNITUDES = """
12: dozen
100: hundred
1000: thousand, mil, mille, tausend, тысяч, тысячи
10000: 万, 萬
100000: lakh
1000000: million, millions, millón, millones, milhão, milhões, millionen, миллион, миллиона, миллионов
10000000: crore
100000000: 亿, 億
1000000000: billion
1000000000000: trillion
"""

_WORD = r"[^\W\d_]{1,30}(?:\^-?\d)?"
_UNIT = re.compile(
    rf"(?:[^\W\d_]|[%°$€£¥₹₽¢Ωµ])[^\W\d_%°²³]{{0,30}}[.]?(?:\^-?\d)?(?:(?:\s|\s?[*/]\s?){_WORD}){{0,3}}[.]?"
)
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")


def _read_table(table: str) -> dict[str, str]:
    """A table of lines `usual: other, other`, from each spelling to the usual one."""
    rows = (line.partition(": ") for line in table.strip().splitlines())
    return {spelling: usual for usual, _, others in rows for spelling in (usual, *others.split(", "))}


CURRENCIES = frozenset(_read_table(_CURRENCIES).values())
_USUAL = {**_read_table(_CURRENCIES), **_read_table(_MEASURES), "L": "l", "mL": "ml"}
_SIZES = {word: int(size) for word, size in _read_table(_MAGNITUDES).items()}


def is_unit(text: str) -> bool:
    """Whether what follows a number is a unit, and not a variable, as in `2x`, or a condition, as in `5 or more`."""
    unit = text.strip(" .")
    if not _UNIT.fullmatch(unit) or "π" in unit or not _NO_UNIT.isdisjoint(unit.casefold().split()):
        return False
    if _UNSPACED.search(unit):
        return len(unit) <= MAX_UNSPACED_CHARS
    is_symbol = unit.isascii() and unit[0].isalpha() and (len(unit) == 1 or not text[0].isspace())
    return not is_symbol or unit in _SYMBOLS or unit.casefold() in _USUAL


def usual_unit(unit: str) -> str:
    """The usual spelling of a unit. Short ones keep their case, because `m` is not `M`; other words become singular."""
    unit = unit.strip(" .")
    folded = unit.casefold()
    if usual := _USUAL.get(unit) or _USUAL.get(folded):
        return usual if len(unit) > 1 or unit in _USUAL else unit
    if len(unit) <= 3 or "/" in unit or "^" in unit:
        return unit.replace(" ", "")
    return folded.removesuffix("s") if folded.isascii() and not folded.endswith("ss") else folded


def split_magnitude(unit: str) -> tuple[int, str]:
    """The factor that a unit begins with, as in "5 million dollars", and the rest of the unit."""
    first, _, rest = unit.partition(" ")
    if size := _SIZES.get(first.casefold()):
        return size, rest
    return (size, unit[1:]) if (size := _SIZES.get(unit[:1])) else (1, unit)
