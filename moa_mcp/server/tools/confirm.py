"""Asks the user of the client to confirm a change, if the client supports it."""

from __future__ import annotations

import hashlib
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp.types.version import is_version_at_least

from moa_mcp.domain.errors import NotAllowed
from moa_mcp.domain.text import fix_surrogates
from moa_mcp.server.tools.base import Invocation

FORMS_IN_RESULTS_SINCE = "2026-07-28"
"""From this protocol revision on, the question is the result of the call; the client repeats the call to answer."""

KEY = "consent"
"""The key of the question in the result, and of the answer in the repeated call."""

_NO_FIELDS: dict[str, Any] = {"type": "object", "properties": {}}
"""A form without fields: to accept it is to agree."""


async def confirm(invocation: Invocation, question: str) -> InputRequiredResult | None:
    """Ask the user. None if they agreed or the client cannot ask them; else the result that contains the question.

    Raises:
        NotAllowed: the user did not agree, or the client failed to ask.
    """
    session, version = invocation.context.session, invocation.context.protocol_version
    if not _can_ask(invocation):
        return None
    form = ElicitRequestFormParams(message=fix_surrogates(question), requested_schema=_NO_FIELDS)
    if is_version_at_least(version, FORMS_IN_RESULTS_SINCE):
        return _form_in_result(invocation, form)
    if session.can_send_request:
        try:
            _check(await session.elicit_form(form.message, _NO_FIELDS, invocation.context.request_id))
        except MCPError:
            raise NotAllowed("The client failed to ask the person at it, so nothing was changed.") from None
    return None


def _can_ask(invocation: Invocation) -> bool:
    """Whether the client can show a form. A client that declares elicitation without a kind supports forms."""
    capabilities = invocation.context.session.client_capabilities
    asking = capabilities.elicitation if capabilities else None
    return asking is not None and (asking.form is not None or asking.url is None)


def _form_in_result(invocation: Invocation, form: ElicitRequestFormParams) -> InputRequiredResult | None:
    # The mark binds an answer to its question: if the change differs by now, the user is asked again.
    mark = hashlib.sha256(form.message.encode()).hexdigest()
    answer = (invocation.params.input_responses or {}).get(KEY)
    if isinstance(answer, ElicitResult) and invocation.params.request_state == mark:
        _check(answer)
        return None
    return InputRequiredResult(input_requests={KEY: ElicitRequest(params=form)}, request_state=mark)


def _check(answer: ElicitResult) -> None:
    if answer.action != "accept":
        raise NotAllowed(
            "The person at the client did not agree, so nothing was changed. Ask them what they would like."
        )
