"""The same request has the same key; what changes its answer changes its key."""

from dataclasses import dataclass, replace

from moa_mcp.domain.model import Task
from moa_mcp.service.ask_request import AskRequest, request_key
from tests.service.fixtures import PRESET

TASK = Task("Q?", seed=1)


@dataclass(frozen=True, slots=True)
class LaterRequest(AskRequest):
    """A request of a later version, with an argument more."""

    schema: str | None = None


def test_limits_and_seed_are_not_in_the_key_and_the_question_is() -> None:
    key = request_key(AskRequest("Q?"), TASK, PRESET)

    assert key == request_key(AskRequest("Q?", max_cost_usd=1, deadline_seconds=9, fresh=True), TASK, PRESET)
    assert key == request_key(AskRequest("Q?"), replace(TASK, seed=2), PRESET)
    assert key != request_key(AskRequest("Why?"), replace(TASK, question="Why?"), PRESET)


def test_an_argument_that_is_added_later_is_in_the_key_where_it_is_set() -> None:
    key = request_key(AskRequest("Q?"), TASK, PRESET)

    assert key == request_key(LaterRequest("Q?"), TASK, PRESET)
    assert key != request_key(LaterRequest("Q?", schema="{}"), TASK, PRESET)
