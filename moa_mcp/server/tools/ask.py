"""`moa_ask`: ask a panel, collect a run, or cancel it."""

from __future__ import annotations

from typing import Annotated, Literal

from mcp.types import ToolAnnotations
from pydantic import Field, StringConstraints

from moa_mcp.domain.errors import InvalidRequest
from moa_mcp.domain.model import Output, Run
from moa_mcp.domain.preset import OnPartial
from moa_mcp.runs.events import EventHandler
from moa_mcp.server import tasks
from moa_mcp.server.context import owner_of
from moa_mcp.server.tools.base import Invocation, Reply, Tool
from moa_mcp.server.tools.progress import report_progress
from moa_mcp.server.tools.results import rendered, run_result
from moa_mcp.server.tools.schema import Arguments
from moa_mcp.service.service import MAX_QUESTION_BYTES, AskRequest
from moa_mcp.views.run import RunResult

DESCRIPTION = """\
Ask a Mixture-of-Agents: several models draft answers, each layer improves on the drafts of the one \
before, and an aggregator writes one answer from them.

Use it for what is worth several models: hard reasoning, a design or research decision, review of a \
proof or of code, a claim to cross-check. Not for quick facts, small edits, or work with tools: the \
panel sees only `question` and `context`.

Cost: about 3 to 40 paid model calls on the keys of the person who runs this server; moa_list_presets \
shows the number per preset. Time: 20 to 180 seconds.

Result: the answer, and the facts of every call; `partial`, `degraded` and `notes` say what it \
lacks. If the run is not done after `wait_seconds`, `status` is `running` and it goes on: call \
moa_ask again with its `run_id` until it is done, and do not repeat the question; with `cancel` \
it is stopped. An interrupted run goes on when it is collected; only what was not finished \
is paid for. The drafts are in moa://runs/RUN_ID/drafts, or here with `drafts: full`."""

Text = Annotated[str, StringConstraints(max_length=MAX_QUESTION_BYTES)]
RunId = Annotated[str, StringConstraints(max_length=100)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class AskArguments(Arguments):
    """The arguments of moa_ask: a question with its options, or the id of a run."""

    question: Text | None = Field(
        default=None,
        description="What the panel is to answer, complete in itself: it sees neither this conversation "
        "nor files. It is sent to the third-party providers of all models of the preset, which "
        "moa_list_presets names, so leave out secrets. Required unless run_id is given.",
    )
    context: Text | None = Field(
        default=None, description="Background for the question, such as a document or code. It is sent along with it."
    )
    preset: str | None = Field(
        default=None,
        max_length=64,
        description="The panel to ask, by its name in moa_list_presets; by default the default one.",
    )
    continue_from: RunId | None = Field(
        default=None,
        description="The id of an earlier run: its question and answer become the history of this one.",
    )
    output: Output = Field(
        default="answer",
        description="answer: the aggregator writes the answer. guidance: it is not called; the drafts "
        "come back, and you write the answer from them.",
    )
    on_partial: OnPartial | None = Field(
        default=None,
        description="Once a draft is missing. refuse: the run fails and names it. Unset: as the preset says.",
    )
    max_cost_usd: Amount | None = Field(
        default=None,
        description="The most this run may cost in USD. Can only lower what holds anyway; 0: no limit of yours.",
    )
    deadline_seconds: Annotated[Amount, Field(le=3600)] | None = Field(
        default=None,
        description="The most seconds this run may take. Can only lower what holds anyway; 0: no limit of yours.",
    )
    fresh: bool = Field(
        default=False, description="Ask again, even if the same question was answered a few minutes ago."
    )
    run_id: RunId | None = Field(
        default=None,
        description="Collect this run instead of asking. Goes with wait_seconds, drafts and cancel; "
        "what belongs to a question is ignored.",
    )
    cancel: bool = Field(default=False, description="With run_id: stop that run and its calls.")
    wait_seconds: float = Field(
        default=45,
        ge=0,
        le=600,
        allow_inf_nan=False,
        description="How long to wait before a run that is not done comes back as running. Stay below "
        "the time limit of your client, often 60 seconds.",
    )
    drafts: Literal["none", "full"] = Field(
        default="none", description="full: the drafts come with the result, up to 40,000 letters of them."
    )


async def run_ask(invocation: Invocation, arguments: AskArguments) -> Reply:
    """Ask, collect or cancel, depending on the arguments.

    Raises:
        MoAError: the call cannot be done; the text gives the reason.
    """
    await _check(invocation, arguments)
    drafts = arguments.drafts == "full"
    if arguments.cancel:
        run = await invocation.service.cancel(arguments.run_id or "", owner=owner_of(invocation.context))
    elif tasks.wanted(invocation.context):
        run = await _wait(invocation, arguments.model_copy(update={"wait_seconds": 0}))
        if run.status == "running":
            return tasks.created(invocation.service, run, drafts=drafts)
    else:
        async with report_progress(invocation.report) as handler:
            run = await _wait(invocation, arguments, handler)
    return await rendered(run, lambda: run_result(run, drafts=drafts))


async def _wait(invocation: Invocation, arguments: AskArguments, handler: EventHandler | None = None) -> Run:
    service, owner, seconds = invocation.service, owner_of(invocation.context), arguments.wait_seconds
    if arguments.run_id:
        return await service.collect(arguments.run_id, owner=owner, wait_seconds=seconds, handler=handler)
    return await service.ask(_request(arguments), owner=owner, wait_seconds=seconds, handler=handler)


def _request(arguments: AskArguments) -> AskRequest:
    return AskRequest(
        arguments.question or "",
        preset=arguments.preset,
        context=arguments.context,
        continue_from=arguments.continue_from,
        output=arguments.output,
        on_partial=arguments.on_partial,
        max_cost_usd=arguments.max_cost_usd or None,
        deadline_seconds=arguments.deadline_seconds or None,
        fresh=arguments.fresh,
    )


async def _check(invocation: Invocation, arguments: AskArguments) -> None:
    if arguments.run_id:
        # Ignore the other arguments of a question: OpenAI's strict mode makes the model fill in every argument.
        if arguments.question and not arguments.cancel:
            await _check_question(invocation, arguments.run_id, arguments.question)
    elif not arguments.question:
        raise InvalidRequest("Give a question to ask, or the run_id of a run to collect.")
    elif arguments.cancel:
        raise InvalidRequest("cancel needs the run_id of the run to stop.")


async def _check_question(invocation: Invocation, run_id: str, question: str) -> None:
    """Allow a repeated question together with run_id, but refuse another question: it would get a wrong answer."""
    run = await invocation.service.scheduler.get_run(owner_of(invocation.context), run_id)
    if question.strip() not in run.task.question:
        raise InvalidRequest(
            f"Run {run_id} answers another question. Leave the question out to collect that run; to ask again, leave "
            "run_id out, and for a follow-up give the id as continue_from."
        )


ASK = Tool(
    name="moa_ask",
    title="Ask a Mixture-of-Agents",
    description=DESCRIPTION,
    arguments=AskArguments,
    results=(RunResult,),
    hints=ToolAnnotations(
        # It spends money, within limits, and changes nothing else.
        read_only_hint=True,
        destructive_hint=False,
        idempotent_hint=False,
        open_world_hint=True,
    ),
    run=run_ask,
)
