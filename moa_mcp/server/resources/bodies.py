"""The content of each resource: runs, drafts and presets as documents. The URIs are in `routes.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from moa_mcp.domain.errors import InvalidRequest
from moa_mcp.domain.model import CallRecord, Run
from moa_mcp.domain.text import cleaned, one_line
from moa_mcp.server.tools.preset_rows import MORE, short_list
from moa_mcp.server.tools.results import rendered
from moa_mcp.service.service import Service
from moa_mcp.views import run as run_view


async def runs(service: Service, owner: str) -> str:
    """The owner's newest runs, newest first, and the total number."""
    shown = [_summary(run) for run in await service.runs(owner=owner)]
    total = await service.store.count(owner)
    return _json({"runs": shown, "total": total, **(_OLDER if total > len(shown) else {})})


async def latest(service: Service, owner: str) -> str:
    """The owner's latest run, or an explanation if there is none."""
    run = await service.latest(owner=owner)
    return _json(_NO_RUN) if run is None else await rendered(run, lambda: _json(run_view.as_json(run)))


async def latest_drafts(service: Service, owner: str) -> str:
    """The drafts of the owner's latest run, or an explanation if there is no run."""
    run = await service.latest(owner=owner)
    return _json({**_NO_RUN, "drafts": []}) if run is None else await rendered(run, lambda: _json(_drafts(run)))


async def run(service: Service, owner: str, run_id: str) -> str:
    """A run with all its facts. Raises UnknownRun."""
    run = await service.scheduler.get_run(owner, run_id)
    return await rendered(run, lambda: _json(run_view.as_json(run)))


async def drafts(service: Service, owner: str, run_id: str) -> str:
    """All drafts of a run so far, in full. Raises UnknownRun."""
    run = await service.scheduler.get_run(owner, run_id)
    return await rendered(run, lambda: _json(_drafts(run)))


async def draft(service: Service, owner: str, run_id: str, layer: str, slot: str) -> str:
    """One draft of a run. Raises UnknownRun, and InvalidRequest if matching is no such draft yet."""
    found = await service.scheduler.get_run(owner, run_id)
    matching = [record for record in found.drafts if (str(record.call.layer), str(record.call.slot)) == (layer, slot)]
    if matching:
        return await rendered(found, lambda: run_view.draft_markdown(matching[0], found))
    raise InvalidRequest(
        f"Run {run_id} has no draft in layer {layer}, slot {slot}{_yet_if_running(found)}. "
        f"What there is: moa://runs/{run_id}/drafts."
    )


async def answer(service: Service, owner: str, run_id: str) -> str:
    """Only the answer of a run, or the reason if it has none. Raises UnknownRun."""
    found = await service.scheduler.get_run(owner, run_id)
    if (text := await rendered(found, lambda: run_view.answer_text(found))) is not None:
        return text
    return f"*No answer{_yet_if_running(found)}: the run is {found.status}.* {found.error or ''}".rstrip()


async def presets(service: Service, owner: str) -> str:
    """All presets as a short list."""
    found = short_list(await service.catalog.entries())
    more = {"left_out": found.left_out, "more": f"moa_list_presets with {MORE}."} if found.left_out else {}
    return _json({"presets": found.rows, **more})


async def preset(service: Service, owner: str, name: str) -> str:
    """The text of a preset's file. Raises UnknownPreset, and InvalidPreset if the file is not a preset."""
    return service.catalog.text(name)


_OLDER: Mapping[str, Any] = {
    "older": "Only the newest runs are listed. Any other is read by its id: moa://runs/RUN_ID. "
    "In a terminal, `moa-mcp runs --limit N` lists more."
}

_NO_RUN: Mapping[str, Any] = {
    "run_id": None,
    "status": "none",
    "explanation": "Nothing was asked yet. Call moa_ask; its run will be here, its drafts as they finish.",
}


def _summary(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "status": run.status,
        "preset": run.preset,
        "question": one_line(run.task.question, 120),
        "created_at": run.created_at,
        "seconds": round(run.seconds, 3),
        "calls_made": run.calls_made,
        "cost_usd": run_view.round_cost(run.cost_usd),
        "degraded": run.degraded,
        "uri": f"moa://runs/{run.run_id}",
    }


def _drafts(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "status": run.status,
        "layers": run.layers,
        "drafts": [_draft(run, record) for record in run.drafts],
    }


def _draft(run: Run, record: CallRecord) -> dict[str, Any]:
    place = f"layers/{record.call.layer}/drafts/{record.call.slot}"
    return {**run_view.draft_text(record, run), "error": record.error, "uri": f"moa://runs/{run.run_id}/{place}"}


def _yet_if_running(run: Run) -> str:
    return " yet" if run.status == "running" else ""


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(cleaned(facts), ensure_ascii=False, indent=2)
