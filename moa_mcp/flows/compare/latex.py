r"""Write mathematics in one way: LaTeX commands, dashes, digits of all scripts and full-width signs become plain text.

`\frac{1}{2}`, `\frac12` and `½` become `1/2`; `6\,\text{cm}` becomes `6 cm`. Nothing is computed.
"""

from __future__ import annotations

import re
import unicodedata

MAX_NESTING = 6
"""How many fractions or roots inside one another are read."""

_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True))
_SUPERSCRIPT = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_VULGAR = re.compile("(?<=[0-9])(?=[¼-¾⅐-⅞])")
_SIGNS = str.maketrans("−–—‐‑﹣⁄∕÷⋅·∙×⩽⩾٫٬’‘，∶º˚、“”„«»「」《》", '------///****≤≥.,\'\',:°°,"""""""""')

_PART = r"(?:\{([^{}]{1,200})\}|([^\s{}\\]))"
"""An argument as TeX reads it: a group, or, as in `\\frac12`, one sign."""
_FRACTION = re.compile(rf"\\[dtc]?frac\s{{0,9}}{_PART}\s{{0,9}}{_PART}")
_ROOT = re.compile(r"\\sqrt\s{0,9}(?:\[(\d{1,3})\])?\s{0,9}(?:\{([^{}]{1,200})\}|(\w))")
_FONTS = r"text(?:bf|it|rm|sf|normal)?|math(?:rm|bf|it|sf|bb|cal)|mbox|operatorname|boxed|fbox|bf|rm"
_FONT = re.compile(rf"\\(?:{_FONTS})\*?(?:\{{([^{{}}]{{0,200}})\}}|\b)")
_EXPONENT = re.compile(r"([\^_])\{([^{}]{1,200})\}")
_TIGHT = re.compile(r"\s{0,9}\{\s{0,9}([,.])\s{0,9}\}\s{0,9}")
_SET = re.compile(r"\{[^{}]{0,200},[^{}]{0,200}\}")
_SPACE = re.compile(r"\\(?:[,;: >()\[\]~]|q?quad\b)")
_NO_SPACE = re.compile(r"\\!\s{0,9}")
_COMMAND = re.compile(r"\\([A-Za-z]{1,30})")
_COMMAND_SIGNS = (
    "cdot=* times=* div=/ pm=± to=→ approx=≈ in=∈ cup=∪ cap=∩ le=≤ leq=≤ leqslant=≤ ge=≥ geq=≥ geqslant=≥ lt=< "
    "gt=> ne=≠ neq=≠ pi=π infty=∞ circ=° degree=° emptyset=∅ varnothing=∅ euro=€ pounds=£ left= right= "
    "displaystyle= limits="
)
_COMMANDS = {name: sign for name, _, sign in (pair.partition("=") for pair in _COMMAND_SIGNS.split())}
_OPEN, _CLOSE, _DOLLAR = "\0", "\1", "\2"
"""Stand for braces and dollars that are meant as such, while the others are read as markup."""
_ESCAPED = (("\\%", "%"), ("\\#", "#"), ("\\$", _DOLLAR), ("\\{", _OPEN), ("\\}", _CLOSE))
_ASCII_SIGNS = (("<=", "≤"), (">=", "≥"), ("!=", "≠"), ("**", "^"))


def write_plainly(text: str) -> str:
    """Return `text` without LaTeX, with ASCII digits and signs; braces of sets stay, all other markup goes."""
    text = _SUPERSCRIPT.sub(lambda found: "^" + "".join(map(_SUPERSCRIPTS.__getitem__, found[0])), text)
    text = unicodedata.normalize("NFKC", _VULGAR.sub(" ", text.translate(_SIGNS))).translate(_SIGNS)
    if not text.isascii():
        text = "".join(str(unicodedata.decimal(one)) if one.isdecimal() else one for one in text)
    if "\\" in text or "{" in text:
        text = _without_commands(text)
    for spelled, sign in _ASCII_SIGNS:
        text = text.replace(spelled, sign)
    if text.count("$") % 2 == 0:  # a single one is a currency
        text = text.replace("$", " ")
    return " ".join(text.replace(_DOLLAR, "$").replace("^°", "°").replace("~", " ").split())


def _without_commands(text: str) -> str:
    for written, meant in _ESCAPED:
        text = text.replace(written, meant)
    text = _TIGHT.sub(r"\1", text)
    for _ in range(MAX_NESTING):
        shorter = _EXPONENT.sub(_exponent, _ROOT.sub(_root, _FRACTION.sub(_fraction, _FONT.sub(r" \1 ", text))))
        if shorter == text:
            break
        text = shorter
    text = _COMMAND.sub(lambda found: _COMMANDS.get(found[1], found[1]), _SPACE.sub(" ", _NO_SPACE.sub("", text)))
    if _OPEN in text or not _SET.search(text):  # the plain braces are only groups
        text = text.replace("{", "").replace("}", "")
    return text.replace(_OPEN, "{").replace(_CLOSE, "}").replace("\\", "")


def _fraction(found: re.Match[str]) -> str:
    above, below = found[1] or found[2], found[3] or found[4]
    return f" {_in_brackets(above)}/{_in_brackets(below)} "


def _root(found: re.Match[str]) -> str:
    return f"{found[1] or ''}√{_in_brackets(found[2] or found[3])}"


def _exponent(found: re.Match[str]) -> str:
    inner = found[2].strip()
    is_single = inner.lstrip("-").isalnum() or inner.startswith("\\")
    return f"{found[1]}{inner if is_single else f'({inner})'}"


def _in_brackets(part: str) -> str:
    part = part.strip()
    return part if part.removeprefix("-").isalnum() else f"({part})"
