"""Finds the reason of a failed call in the words of a provider: the tables of its statuses, codes and phrases. No I/O.

The same failure has another wording at each provider, and new wordings appear all the time. So the phrases are
patterns of what is said (an input, a verb of excess, a limit), not lists of known sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from moa_mcp.domain.errors import Reason

_BY_STATUS = {
    400: Reason.BAD_REQUEST,
    401: Reason.AUTH,
    402: Reason.BILLING,
    403: Reason.FORBIDDEN,
    404: Reason.UNKNOWN_MODEL,
    405: Reason.WRONG_URL,
    408: Reason.UNAVAILABLE,
    409: Reason.UNAVAILABLE,
    413: Reason.TOO_LONG,
    422: Reason.BAD_REQUEST,
    429: Reason.RATE_LIMITED,
    451: Reason.REFUSED,
    529: Reason.OVERLOADED,
}

_BY_CODE = {
    "1113": Reason.BILLING,  # Z.ai: no balance
    "1211": Reason.UNKNOWN_MODEL,  # Z.ai
    "1261": Reason.TOO_LONG,  # Z.ai
    "1301": Reason.REFUSED,  # Z.ai: sensitive content
    "1305": Reason.OVERLOADED,  # Z.ai
    "authentication_error": Reason.AUTH,
    "billing_error": Reason.BILLING,
    "billing_hard_limit_reached": Reason.BILLING,
    "billing_not_active": Reason.BILLING,
    "budget_exceeded": Reason.BILLING,
    "content_filter": Reason.REFUSED,
    "content_policy_violation": Reason.REFUSED,
    "context_length_exceeded": Reason.TOO_LONG,
    "credit_balance_exhausted": Reason.BILLING,
    "data_inspection_failed": Reason.REFUSED,
    "datainspectionfailed": Reason.REFUSED,
    "deploymentnotfound": Reason.UNKNOWN_MODEL,
    "engine_overloaded": Reason.OVERLOADED,
    "engine_overloaded_error": Reason.OVERLOADED,
    "enforced_spend_limit_reached": Reason.BILLING,
    "exceed_context_size_error": Reason.TOO_LONG,
    "exceeded_current_quota_error": Reason.BILLING,
    "insufficient_quota": Reason.BILLING,
    "invalid_api_key": Reason.AUTH,
    "invalid_model": Reason.UNKNOWN_MODEL,
    "invalid_prompt": Reason.REFUSED,
    "model_context_window_exceeded": Reason.TOO_LONG,
    "model_decommissioned": Reason.UNKNOWN_MODEL,
    "model_not_available": Reason.UNKNOWN_MODEL,
    "model_not_found": Reason.UNKNOWN_MODEL,
    "model_not_supported": Reason.UNKNOWN_MODEL,
    "not_found_error": Reason.UNKNOWN_MODEL,
    "organization_spend_limit_exceeded": Reason.BILLING,
    "organization_usage_limit_exceeded": Reason.BILLING,
    "overloaded": Reason.OVERLOADED,
    "overloaded_error": Reason.OVERLOADED,
    "permission_denied": Reason.FORBIDDEN,
    "permission_error": Reason.FORBIDDEN,
    "project_spend_limit_exceeded": Reason.BILLING,
    "rate_limit_error": Reason.RATE_LIMITED,
    "rate_limit_exceeded": Reason.RATE_LIMITED,
    "request_too_large": Reason.TOO_LONG,
    "resource_exhausted": Reason.RATE_LIMITED,
    "unknown_model": Reason.UNKNOWN_MODEL,
    "unknown_url": Reason.WRONG_URL,
    "unsupported_api_for_model": Reason.OTHER_API,
}
"""Error codes and types of providers that are more exact than the HTTP status."""

_INPUT = (
    r"(?:prompts?|(?<!max_)inputs?(?! should)|messages?|conversation|contexts?|context[ _](?:length|window|size)"
    r"|tokens?|(?:n_)?(?:prompt|input)_tokens|text|string|content|query|history|sequence|body|payload|entity"
    r"|(?:your|the|this|in) request|request(?= \())"
)
_LIMIT = (
    r"(?:context|window|max\w*|limits?|limited|allowed|allowable|permitted|lengths?|sizes?|capacity|n_ctx|supported)"
)
_EXCESS = (
    r"(?:exceed\w*|(?:longer|larger|greater|bigger|more|higher) than|surpass\w*|overflow\w*|over (?:the|its)|beyond|>"
    r"|above|outside|(?:must|should|can|may)(?:not| not)? (?:be |have )?(?:at most|less|fewer|smaller|shorter|below"
    r"|under|within|no more|up to|<=?|exceed)|(?:does(?:n't| not)|not) fit|supports? (?:only )?(?:up to|at most))"
)
_TOO_LONG = "|".join(
    (
        rf"\b{_INPUT}\b[^\n]{{0,80}}?\btoo (?:long|large|big|many)\b",
        rf"\b{_INPUT}\b[^\n:;]{{0,120}}?{_EXCESS}(?: than)?(?:\W{{0,3}}\d|[^\n]{{0,80}}?\b{_LIMIT})",
        rf"{_EXCESS}[^\n]{{0,60}}?\b(?:context|window|(?:model|input|prompt)(?:'s)? (?:token )?(?:limit|length)|n_ctx)",
        r"\bcontext[^\n]{0,50}?(?:exceed|limit reached)|contextwindowexceeded|expected maxlength",
        r"\d tokens\b[^\n]{0,80}\b(?:max\w*|limit|only|window|context|allowed|handle)\b",
        r"\b(?:max\w*|limit|only|window|context|allowed|handle)\b[^\n]{0,40}\d tokens\b",
        r"(?:输入|上下文|长度)[^\n]{0,20}(?:超过|超出|过长)",
        r"\bmax\w* (?:context|prompt|input|model|sequence)(?: \w+)? (?:length|size|window|tokens?)",
        r"\b(?:configured|available|supported|only|loaded)\b[^\n]{0,20}\bcontext (?:size|length|window)",
        r"\btoo many (?:input |prompt )?tokens",
        r"\b(?:shorten|reduc\w+|decrease)\b[^\n]{0,30}\b(?:prompt|input|length|messages?|context)\b",
        r"\brange of input length|context shift is disabled|(?:token|context) (?:limit|overflow)|out of context",
    )
)
_ABOUT_OUTPUT = (
    r"\A(?:(?!\b(?:inputs?\b(?! should)|prompt|messages?\b|context))[^\n]){0,200}?"
    r"(?:max_(?:completion_|output_|new_)?tokens|maxOutputTokens|max\w* tokens (?:you requested|value|must|should|is))"
)
"""The message names max_tokens before it says anything about the input: the answer may not be that long."""

_IN_TOKENS_PER_MINUTE = r"request(?: is)? too large|(?:input or output|prompt|input) tokens must be reduced"
"""What is too long for the tokens per minute of an account stays too long, however long it waits."""

_REFUSED = (
    r"content[ _-]?(?:filter|polic|management|moderation|violat|exists risk)|\bflagged\b|moderation\b"
    r"|safety (?:system|check|filter|polic|setting|reason)|safety_check|usage (?:polic|guideline)"
    r"|(?:inappropriate|sensitive|prohibited|unsafe|harmful|disallowed)[ _](?:or \w+ )?(?:content|words?|info|input)"
    r"|unsafe or sensitive|high risk|敏感|违规"
    r"|(?:considered|deemed) (?:\w+ )?(?:harmful|unsafe|inappropriate|sensitive)"
    r"|content safety|violat\w+[^\n]{0,60}(?:polic|guideline|terms)|guardrail|responsible ?ai"
    r"|(?:output|input|prompt|request|response|content) (?:was |is |has been )?blocked|data inspection|new_sensitive"
)
_UNUSABLE_ACCOUNT = (
    r"\b(?:account|organi[sz]ation|project|access)\b[^\n]{0,40}(?:disabled|terminated|deactivated|restricted|banned)"
    r"|(?:region|country|location|territory)\b[^\n]{0,30}not supported|not supported in your (?:region|country)"
    r"|matching your (?:data policy|guardrail)"
)
_NO_MONEY = (
    r"insufficient[ _](?:\w+ ){0,3}(?:funds|balance|credits?|quota)|credit balance|credits? limit|more credits"
    r"|(?:balance|credits?|quota|free[ -]tier|allowance)\b[^\n]{0,60}\b(?:insufficient|not enough|too low|exhausted"
    r"|depleted|used (?:up|all)|run out|exceeded|expired)|not enough (?:balance|credits?|funds|quota)"
    r"|(?:out of|no|used all)(?: \w+){0,3} (?:credits?|funds|balance|quota)\b|(?:over|exceeded?) ?budget"
    r"|budget[^\n]{0,40}exceeded|(?:spend(?:ing)?|usage|key|billing|budget|weekly|hour) limits?\b"
    r"|exceeded[^\n]{0,40}\b(?:quota|credits|budget)|arrear|overdue|good standing|past invoices"
    r"|billing account|payment required"
    r"|余额不足|欠费|(?:free[ -]tier|trial)[^\n]{0,20}limit|recharge|\btop[ -]?up\b"
    r"|account[^\n]{0,60}suspended[^\n]{0,80}(?:limit|pay|balance|billing)"
)
_LONG_PERIOD = re.compile(
    r"per[ _-]?(?:day|week|month)|/ ?(?:day|month)\b|daily|monthly|weekly|\b[rt]pd\b", re.IGNORECASE
)
"""A quota that waiting within a run does not bring back."""

_KEY = r"(?:api[ _-]?keys?|(?:access|auth\w*|bearer|api|virtual|server|session) (?:tokens?|keys?)|credentials?)"
_BAD_KEY = (
    rf"(?:invalid|incorrect|expired|missing|wrong|bad|revoked|malformed|no) (?:or \w+ )?(?:\w+ )?"
    rf"(?:{_KEY}|auth(?:entication|orization)?\b)"
    rf"|{_KEY}(?:\b|_)[^\n]{{0,40}}(?:not (?:valid|found|provided|set)|expired|invalid|incorrect|revoked|leaked"
    r"|required|wrong|missing|disabled)|unregistered callers|no connected db|unauthenticated"
    r"|authentication (?:fail|error|required)|token (?:is |has )?(?:expired|invalid)|\bkey is disabled|invalid authenti"
)
_MODEL = r"\b(?:models?|deployments?|engines?)\b"
_ABSENT = (
    r"(?:does(?:n't| not) exist|not? ?exist|not (?:be )?(?:found|available|loaded|recogni[sz]ed|accessible|deployed)"
    r"|(?:is|are|has|have|was|been) (?:been |no longer )?(?:invalid|unknown|decommissioned|deprecated|retired|removed"
    r"|shut ?down|discontinued)|(?:identifier|name|id) (?:is )?invalid|not supported by any)"
)
_UNKNOWN_MODEL = (
    rf"(?:unknown|invalid|unsupported|unrecogni[sz]ed|no such|non-existent) {_MODEL}|model_not_|模型不存在"
    r"|not a (?:valid|supported|known) model|\bmodel \S{1,100} (?:is )?(?:not |un)supported\W*\Z"
    rf"|{_MODEL}[^\n]{{0,120}}?{_ABSENT}|not found[^\n]{{0,20}}{_MODEL}"
    r"|(?:requested|this|that) model is not supported(?! (?:for|with|in))"
    r"|non-serverless|unable to access model|access to model"
    r"|no models? (?:(?:is |are )?loaded|named|with)\b|failed to load model"
    r"|(?:could not|cannot|unable to) (?:find|resolve|locate)[^\n]{0,30}\bmodel"
    r"|no (?:available |allowed |suitable |healthy )?(?:channel|endpoint|router|deployment|provider|handler)s?\b"
    r"[^\n]{0,30}\b(?:for|available)\b"
)
_OTHER_API = (
    r"\b(?:only|not)(?: be)? (?:support|availab|accessib|usable|used|served|compatible)\w*[^\n]{0,40}"
    r"(?:\bv1/(?!models)\w+|\bresponses (?:api|endpoint)|\bchat[ /]completions?\b)|not a chat model"
    r"|supports only[^\n]{0,20}responses|use (?:the )?/?(?:v1/)?responses\b"
)
_WRONG_URL = (
    r"unexpected endpoint|no (?:such )?(?:route|path)\b"
    r"|(?:invalid|unknown|unrecogni[sz]ed) (?:request )?(?:url|path|route)"
    r"|\b(?:url|path|route|page|file)\b[^\n]{0,60}not (?:be )?found|cannot post|method not allowed"
)
_PLAIN_NOT_FOUND = re.compile(
    r"\W*(?:404\W+)?(?:(?:the|requested|api|this|http|resource|endpoint|location|detail)\W+){0,4}"
    r"(?:(?:was |could )?not (?:be )?found)?\W*",
    re.IGNORECASE,
)
_PLACE_NOT_FOUND = re.compile(
    r"\A(?![\s\S]*\b(?:models?|deployments?)\b)[\s\S]*(?:\b(?:endpoint|route|path|url|page)\b|/(?:chat|v\d|messages)\b)",
    re.IGNORECASE,
)
_LOADED_THING = r"(?:models?|servers?|services?|engines?|endpoints?|weights|workers?|replicas?|backends?|pipelines?)"
_LOADING = (
    r"\A(?![\s\S]{0,400}(?:fail|error loading|unable|could not|cannot|out of memory))[\s\S]{0,400}?(?:"
    rf"{_LOADED_THING}\b[^\n]{{0,120}}?\b(?:loading|being loaded|starting|initiali[sz]ing|warming|booting|waking"
    r"|not (?:yet )?(?:ready|loaded|initiali[sz]ed|started))"
    r"|\bstill (?:loading|starting)"
    rf"|\b(?:loading|starting|initiali[sz]ing|warming up)(?: the)?(?: \S+)? {_LOADED_THING})"
)
_NO_STREAM = (
    r"verified to stream"
    r"|\bstream(?:ing|ed)?\b[^\n]{0,40}(?:not|n't|un)(?: be| yet)? ?(?:support|allow|available|implement|enabled)"
    r"|(?:not|n't|unsupported)[^\n]{0,20}(?:support\w*|allow\w*|for)[^\n]{0,12}\bstream(?:ing|ed)?\b(?! ?_?options)"
)
_OVERLOADED = r"\b(?:be|is|are|currently|temporarily) overloaded|at capacity|high demand|server (?:is )?busy"


@dataclass(frozen=True, slots=True)
class _Rule:
    """A reason, the phrases that show it, and the statuses with which they do."""

    reason: Reason
    phrases: re.Pattern[str]
    applies: Callable[[int | None], bool]


def _rule(reason: Reason, phrases: str, applies: Callable[[int | None], bool]) -> _Rule:
    return _Rule(reason, re.compile(phrases, re.IGNORECASE), applies)


def _always(status: int | None) -> bool:
    return True


def _may_be_the_request(status: int | None) -> bool:
    """Whether the status says at most that the request was refused."""
    return status is None or (400 <= status < 500 and status != 429)


def _may_be_the_length(status: int | None) -> bool:
    return status != 429


def _may_be_the_account(status: int | None) -> bool:
    return status is None or 400 <= status < 500


def _may_be_busy(status: int | None) -> bool:
    return status is None or status in {400, 409, 424, 425, 429} or status >= 500


_RULES = (
    _rule(Reason.WRONG_URL, _WRONG_URL, _may_be_the_request),
    _rule(Reason.BAD_REQUEST, _NO_STREAM, _always),
    _rule(Reason.OTHER_API, _OTHER_API, _may_be_the_request),
    _rule(Reason.TOO_LONG, _IN_TOKENS_PER_MINUTE, _always),
    _rule(Reason.BILLING, _NO_MONEY, _may_be_the_account),
    _rule(Reason.BAD_REQUEST, _ABOUT_OUTPUT, _may_be_the_request),
    _rule(Reason.FORBIDDEN, _UNUSABLE_ACCOUNT, _may_be_the_request),
    _rule(Reason.TOO_LONG, _TOO_LONG, _may_be_the_length),
    _rule(Reason.REFUSED, _REFUSED, _may_be_the_request),
    _rule(Reason.AUTH, _BAD_KEY, _may_be_the_request),
    _rule(Reason.UNKNOWN_MODEL, _UNKNOWN_MODEL, _may_be_the_request),
    _rule(Reason.LOADING, _LOADING, _may_be_busy),
    _rule(Reason.OVERLOADED, _OVERLOADED, _may_be_busy),
)
"""The first rule that fits counts."""


MAX_RATE_WAIT_SECONDS = 600
"""A quota that does not come back within this time is a matter of money, not of the rate."""

MAX_READ = 4000
"""The most characters of a message that are searched for phrases."""


def reason_of(status: int | None, names: Sequence[str], message: str, whole: str, wait: float | None) -> Reason:
    """The reason of an error reply.

    `names` are its codes and types in lower case, the most exact first. `whole` is the text of all its values.
    `wait` is how many seconds it asks to wait.
    """
    reason = _by_words(status, names, message[:MAX_READ])
    if reason in {Reason.BILLING, Reason.RATE_LIMITED} and (status == 429 or "resource_exhausted" in names):
        # Some services say "exceeded your quota" for a minute's quota, too; then they also say when to ask again.
        lasting = reason is Reason.BILLING if wait is None else wait > MAX_RATE_WAIT_SECONDS
        return Reason.BILLING if lasting or _LONG_PERIOD.search(whole[:MAX_READ]) else Reason.RATE_LIMITED
    return reason


def _by_words(status: int | None, names: Sequence[str], message: str) -> Reason:
    for rule in _RULES:
        if rule.applies(status) and rule.phrases.search(message):
            return rule.reason
    if status == 404 and (_PLAIN_NOT_FOUND.fullmatch(message) or _PLACE_NOT_FOUND.match(message)):
        return Reason.WRONG_URL
    for name in names:
        if name in _BY_CODE:
            return _BY_CODE[name]
    if status is not None:
        return _BY_STATUS.get(status) or (Reason.UNAVAILABLE if status >= 500 else Reason.BAD_REQUEST)
    return Reason.BAD_REQUEST if "invalid_request_error" in names else Reason.UNAVAILABLE
