"""Find and compare answers, and measure how often that is right. One line of JSON.

    python -m benchmarks.answers [MATH_VERIFY]

`finder` compares what is found in labelled texts of eleven languages (tests/data/answers.jsonl) with their labels.
`prose` counts what is found in passages of the descriptions of installed packages: none of them states an answer.
MATH_VERIFY is the unpacked source distribution of math-verify: `pairs` are those of its tests, read but not run.
They are compared by form, and, where the extra `math` is installed, also by math-verify.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from moa_mcp.flows.compare.find import find_answer
from moa_mcp.flows.compare.formulas import may_be_same_formula
from moa_mcp.flows.compare.same import read_form, same_answer, same_form
from moa_mcp.providers.formulas import FormulasLost, compare_formulas

LABELS = Path(__file__).parent.parent / "tests" / "data" / "answers.jsonl"
PASSAGES = 400
MIN_PASSAGE_CHARS = 120
"""A shorter passage is mostly a heading, not prose."""

_PAIR = (["gold", "pred", "expected"], ["gold", "pred", "expected", "precision"])
"""The parameters of a test of math-verify that compares two texts as they are."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text, the answer that it states (None: none) and the one that was found."""

    text: str
    answer: str | None
    found: str | None

    @property
    def is_right(self) -> bool:
        """Whether the answer that was found is the stated one."""
        return self.answer is not None and self.found is not None and same_answer(self.answer, self.found)


@dataclass(frozen=True, slots=True)
class FinderScore:
    """How many of the found answers are right, and how many of the stated ones are found, from 0 to 1."""

    texts: int
    stated: int
    found: int
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class PairScore:
    """Of pairs that are equal, and of pairs that differ, how many are found to be the same."""

    equal: int
    equal_found_same: int
    different: int
    different_found_same: int


def find_labelled() -> list[Labelled]:
    """The labelled texts and what is found in them."""
    rows = [json.loads(line) for line in LABELS.read_text(encoding="utf-8").splitlines()]
    return [Labelled(row["text"], row["answer"], find_answer(row["text"])) for row in rows]


def score_finder(labelled: Sequence[Labelled]) -> FinderScore:
    """The precision and recall of the finder on labelled texts."""
    right = sum(one.is_right for one in labelled)
    stated = sum(one.answer is not None for one in labelled)
    found = sum(one.found is not None for one in labelled)
    return FinderScore(len(labelled), stated, found, round(right / found, 4), round(right / stated, 4))


def installed_passages(count: int) -> list[str]:
    """`count` passages, evenly spread over the descriptions of all installed packages."""
    passages = sorted({passage for text in _descriptions() for passage in _passages(text)})
    return [passages[place * len(passages) // count] for place in range(min(count, len(passages)))]


def _descriptions() -> Iterator[str]:
    for one in distributions():
        text: Any = one.metadata.get_payload() or one.metadata["Description"]  # type: ignore[attr-defined]
        if isinstance(text, str):
            yield text


def _passages(text: str) -> Iterator[str]:
    paragraphs = (part.strip() for part in text.replace("\r\n", "\n").split("\n\n"))
    return (part for part in paragraphs if len(part) >= MIN_PASSAGE_CHARS)


def math_verify_pairs(source: Path) -> Iterator[tuple[str, str, bool]]:
    """The pairs in the tests of math-verify, and whether they are equal. The tests are read, not imported."""
    for file in sorted((source / "tests").glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("parametrize") and len(node.args) > 1:
                yield from _pairs(*node.args[:2])


def _pairs(names: ast.expr, cases: ast.expr) -> Iterator[tuple[str, str, bool]]:
    if not isinstance(names, ast.Constant) or str(names.value).replace(" ", "").split(",") not in _PAIR:
        return
    try:
        values: list[tuple[Any, ...]] = ast.literal_eval(cases)
    except ValueError:  # computed values, which these tests have for floats
        return
    yield from ((str(gold), str(predicted), bool(expected)) for gold, predicted, expected, *_ in values)


def score_pairs(pairs: Sequence[tuple[str, str, bool]]) -> dict[str, PairScore]:
    """How the pairs compare by what is found in them, or as they are if nothing is: by form, and with math-verify."""
    forms = [tuple(read_form(find_answer(text) or text) for text in pair[:2]) for pair in pairs]
    by_form = [same_form(*pair) for pair in forms]
    open_pairs = [place for place, pair in enumerate(forms) if not by_form[place] and may_be_same_formula(*pair)]
    try:
        verdicts = compare_formulas([(forms[place][0].stated, forms[place][1].stated) for place in open_pairs])
    except FormulasLost:
        return {"by_form": _score(pairs, by_form)}
    joined = {place for place, verdict in zip(open_pairs, verdicts, strict=True) if verdict}
    with_math = [same or place in joined for place, same in enumerate(by_form)]
    return {"by_form": _score(pairs, by_form), "with_math": _score(pairs, with_math)}


def _score(pairs: Sequence[tuple[str, str, bool]], same: Sequence[bool]) -> PairScore:
    equal, different = (
        [found for (_, _, expected), found in zip(pairs, same, strict=True) if expected is kind]
        for kind in (True, False)
    )
    return PairScore(len(equal), sum(equal), len(different), sum(different))


def main(source: str | None = None) -> None:
    """Print the scores."""
    passages = installed_passages(PASSAGES)
    report: dict[str, Any] = {
        "finder": asdict(score_finder(find_labelled())),
        "prose": {"passages": len(passages), "found": sum(find_answer(text) is not None for text in passages)},
    }
    if source is not None:
        scores = score_pairs(list(math_verify_pairs(Path(source))))
        report["pairs"] = {how: asdict(score) for how, score in scores.items()}
    sys.stdout.write(f"{json.dumps(report)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
