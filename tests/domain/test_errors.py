"""Errors say what happened, why, and what to do next."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import moa_mcp
from moa_mcp.domain import errors
from moa_mcp.domain.errors import (
    InvalidPreset,
    MissingKey,
    MoAError,
    ProviderError,
    Reason,
    RunFailed,
    UnknownPreset,
    UnknownRun,
    describe_reason,
    sort_by_closeness,
)
from tests.architecture import PACKAGE


def tree_of(kind: type[Exception], depth: int = 0) -> Iterator[tuple[int, str]]:
    """The public errors at and below `kind`, each with its depth; a private base is no step of the tree."""
    public = not kind.__name__.startswith("_")
    if public:
        yield depth, kind.__name__
    for below in kind.__subclasses__():
        if below.__module__.startswith(PACKAGE):
            yield from tree_of(below, depth + public)


def test_the_tree_in_the_docstring_is_the_tree_of_every_module() -> None:
    for module in pkgutil.walk_packages(moa_mcp.__path__, f"{PACKAGE}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    drawn = re.findall(r"^((?:│   |    )*)(├── |└── |)([A-Z]\w+)(?=  |$)", errors.__doc__ or "", re.MULTILINE)

    assert sorted((len(left + branch) // 4, name) for left, branch, name in drawn) == sorted(tree_of(MoAError))


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_plain_words_of_its_own(reason: Reason) -> None:
    assert [describe_reason(other) for other in Reason].count(describe_reason(reason)) == 1


def test_an_unknown_preset_names_the_known_ones_nearest_first() -> None:
    assert str(UnknownPreset("moa-light", ["demo", "moa-lite", "zeta"])).endswith("moa-lite, demo, zeta.")


def test_names_nothing_like_the_wrong_one_come_in_order() -> None:
    assert sort_by_closeness("xyz", ["b", "a"]) == ["a", "b"]


def test_a_missing_key_is_named_with_what_wants_it() -> None:
    message = str(MissingKey(["A_KEY", "B_KEY"], wanted_by="Preset x"))

    assert message.startswith("Preset x needs A_KEY and B_KEY, which is not set.")


def test_an_invalid_preset_names_file_line_key_and_what_was_expected() -> None:
    error = InvalidPreset("x.yaml", "not a number", line=3, key="layers", expected="1 to 10")

    assert str(error) == "x.yaml, line 3: layers: not a number. Expected 1 to 10."


def test_errors_can_be_raised_compared_and_put_into_sets() -> None:
    with pytest.raises(InvalidPreset):
        raise InvalidPreset("x.yaml", "broken")

    assert len({ProviderError(Reason.AUTH), ProviderError(Reason.AUTH)}) == 2


def test_a_failed_run_lists_its_causes_one_a_line() -> None:
    assert str(RunFailed("It failed:", ["one", "two"])) == "It failed:\n- one\n- two"


def test_an_unknown_run_says_where_runs_are_listed() -> None:
    assert "moa://runs" in str(UnknownRun("x"))
