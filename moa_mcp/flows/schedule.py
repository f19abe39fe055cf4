"""When each phase of a run must end, as a share of the run's time: 0 is its start, 1 its deadline.

A phase that ends early leaves its time to the next one. The shares matter when a model is slow: they keep time for
the phases that follow, so that a slow phase loses its own result and not the answer.

    0      .10  .15  .20  .25  .30             .60  .65      .75  .80              1
    |-------+----+----+----+----+---------------+----+--------+----+---------------|
    | route: difficulty, gate, one easy model,  |    |             |               |
    |        samples and their comparison       |    |             |               |
    |             | roles: .20, or .05 after    |    |             |               |
    |             |        the route            |    |             |               |
    |                  | proposer layers: the   |    |             |               |
    |                  | last one ends at .60   |    |             |               |
    |                                           | screen, residual of the last     |
    |                                           | layer: at most to .76            |
    |                                                | judges: to .80              |
    |                                                     | writing: to 1, or .95  |
    |                                                     | if a comparison follows|

    After a layer, in the time up to the end of the next one (after the last: up to the end of the judges):

    layer ends                                                         next layer ends
    |-- replaced duplicates --|-- screen --|-- extractor --|-- stop --|-- merger --|---|

| Phase             | Ends at                         | Why                                                       |
|-------------------|---------------------------------|-----------------------------------------------------------|
| difficulty        | .10                             | a short reply                                             |
| gate              | .15                             | a score and an instruction for each slot                  |
| easy model        | .25                             | a whole answer, and a panel may have to follow            |
| samples compared  | .30                             | one call for embeddings after the samples                 |
| roles             | .20, at least .05 after route   | one reply; later runs know the roles                      |
| proposer layers   | .60, .10 or less a layer        | the first has the rest: it reads only the question        |
| duplicates        | .10 after the first layer       | slots are asked one after the other, each then compared   |
| screen, stop      | .05 after the phase before      | one judge's reply, or one call for embeddings; as any     |
|                   |                                 | further kind of stage                                     |
| extractor         | .80 of the time after it        | what it finds is for the next layer                       |
| variants          | three quarters of the judges'   | they are compared in the last quarter                     |
| judges            | .80                             | the aggregator still has to write                         |
| writing           | 1; the first model to .80 of it | its fallbacks share the rest: a model mostly fails early  |
| windows           | 1, each later than the last     | if the time is up, the best text so far is the answer     |
| method in a slot  | .95 of the time of its slot     | its result must still be returned                         |
| a program         | .80 of the time of its slot     | a model must still write a reply from its result          |

After a layer, each phase takes at most half of the time that is left, except the extractor.

Where nothing but a vote, or nothing at all, follows the drafts, these have the time to .95 or to the end.

Where each layer is aggregated (RMoA), the answer so far is kept, so that a later layer may use the time that is left:
each phase may last as long as two thirds of a round still fit behind it, at the pace of the rounds up to then (a whole
round in the first layer, which has no answer yet). Slow models thus make fewer layers, and the answer is not lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moa_mcp.domain.preset import Preset
from moa_mcp.domain.stages import AFTER_LAYER, RESIDUALS, STOPS

DIFFICULTY_END = 0.10
GATE_END = 0.15
EASY_END = 0.25
SAMPLES_COMPARED_END = 0.30
ROLES_END = 0.20
MIN_ROLES_TIME = 0.05
PROPOSERS_END = 0.60
MAX_LATER_LAYER_TIME = 0.10
MAX_DUPLICATES_TIME = 0.10
MAX_STAGE_TIME = 0.05
EXTRACTOR_PART = 0.80
VARIANTS_PART = 0.75
JUDGES_END = 0.80
COMPARED_ANSWER_END = 0.95
RUN_END = 1.0
VOTERS_END = 0.95
FIRST_WRITER_PART = 0.80
ROUND_AFTER = 2 / 3
WINDOW_AFTER = 1 / 4
EXTRACTOR_ROUNDS = 0.35
STAGE_ROUNDS = 0.1
SLOT_PROGRAM_END = 0.80
SLOT_END = 0.95


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the run's time, from one share to another."""

    start: float
    end: float = RUN_END

    def step_end(self, step: int, steps: int) -> float:
        """The end of step number `step`, from 1, if `steps` steps share the window equally."""
        return self.end if step == steps else self.start + (self.end - self.start) * step / steps

    def attempt_end(self, attempt: int, attempts: int) -> float:
        """The end of attempt number `attempt`, from 1, at writing: the first has most of the window."""
        if attempt == attempts:
            return self.end
        rest = Window(self.part_end(FIRST_WRITER_PART), self.end)
        return rest.start if attempt == 1 else rest.step_end(attempt - 1, attempts - 1)

    def paced_end(self, rounds: float, after: float) -> float:
        """The end of round number `rounds` if `after` rounds of the same length still have to fit into the window."""
        return self.part_end(rounds / (rounds + after))

    def part_end(self, part: float) -> float:
        """The time at which this part of the window, from 0 to 1, is over."""
        return self.start + (self.end - self.start) * part


WRITING_AFTER_JUDGES = Window(JUDGES_END)
WRITING_BEFORE_COMPARISON = Window(JUDGES_END, COMPARED_ANSWER_END)


@dataclass(frozen=True, slots=True)
class AfterLayer:
    """The end of each phase after a proposer layer; a phase that the preset lacks ends with the phase before it.

    `stages` are the ends of the stages after a layer, by key.
    """

    duplicates: float
    stages: Mapping[str, float]
    merger: float

    @property
    def screen(self) -> float:
        return self.stages["screen"]

    @property
    def extractor(self) -> float:
        return self.stages["residual"]

    @property
    def stop(self) -> float:
        return self.stages["stop"]


def roles_end(preset: Preset) -> float:
    """The end of the roles phase, which comes after the route: only the participants that it chose get roles."""
    return max(ROLES_END, _route_end(preset) + MIN_ROLES_TIME)


def proposer_layer_end(layer: int, preset: Preset) -> float:
    """The end of proposer layer number `layer`. All later layers have equal time; the first has at least as much.

    Where each layer is aggregated, the ends follow the pace of the rounds instead.
    """
    if _merges(preset):
        return _paced_end(layer, preset, 0)
    layers, last = preset.layers - 1, _proposers_end(preset)
    each = min(MAX_LATER_LAYER_TIME, (PROPOSERS_END - _layers_start(preset)) / layers)
    return last - (layers - layer) * each


def after_layer(layer: int, preset: Preset) -> AfterLayer:
    """The ends of the phases after proposer layer number `layer`, in the order in which they run."""
    if _merges(preset):
        return _after_merged_layer(layer, preset)
    window = _window_after_layer(layer, preset)
    end = window.start
    if layer == 1 and _replaces_copies(preset):
        end = _phase_end(end, window.end, MAX_DUPLICATES_TIME)
    duplicates, stages = end, dict[str, float]()
    for kind in AFTER_LAYER:
        if kind.of(preset) is not None and kind is not RESIDUALS:
            end = _phase_end(end, window.end, MAX_STAGE_TIME)
        elif kind.of(preset) is not None and layer > 1:
            end = window.part_end(EXTRACTOR_PART)
        stages[kind.key] = end
    return AfterLayer(duplicates, stages, end)


def _after_merged_layer(layer: int, preset: Preset) -> AfterLayer:
    rounds, stages = STAGE_ROUNDS * (layer == 1 and _replaces_copies(preset)), dict[str, float]()
    duplicates = _paced_end(layer, preset, rounds)
    for kind in AFTER_LAYER:
        if kind.of(preset) is not None and (kind is not RESIDUALS or layer > 1):
            rounds += EXTRACTOR_ROUNDS if kind is RESIDUALS else STAGE_ROUNDS
        stages[kind.key] = _paced_end(layer, preset, rounds)
    return AfterLayer(duplicates, stages, _paced_end(layer, preset, 1 + EXTRACTOR_ROUNDS * (layer > 1), ROUND_AFTER))


def _paced_end(layer: int, preset: Preset, more: float, after: float | None = None) -> float:
    """The end of what is `more` rounds behind the drafts of a layer, where each layer is aggregated."""
    rounds = 2 * layer - 1 + EXTRACTOR_ROUNDS * max(0, layer - 2) + more
    return Window(_layers_start(preset)).paced_end(rounds, after or (1 if layer == 1 else ROUND_AFTER))


def _merges(preset: Preset) -> bool:
    return preset.conclude.merges_layers and any(kind.end_of_layer(kind.of(preset)) for kind in AFTER_LAYER)


def _replaces_copies(preset: Preset) -> bool:
    return preset.route is not None and preset.route.copy_similarity is not None


def comparison_end(replaced: int, preset: Preset) -> float:
    """The end of the comparison of the first layer's drafts, after `replaced` of them have been replaced."""
    return _duplicates_window(preset).part_end(1 - 1 / (replaced + 1.5))


def replacement_end(number: int, preset: Preset) -> float:
    """The end of the call to the replacement slot number `number`, from 1; each later one has less time."""
    return _duplicates_window(preset).part_end(1 - 1 / (number + 1))


def conclusion(preset: Preset) -> Window:
    """The time for concluding, after the layers and the phases that follow the last of them."""
    if preset.layers == 1:
        return Window(_route_end(preset))
    last = after_layer(preset.layers - 1, preset)
    # Neither a stop nor a merger follows the last layer.
    return Window(max(end for key, end in last.stages.items() if key != STOPS.key))


def variants_end(preset: Preset) -> float:
    """The end of the aggregations of several subsets of the drafts; the rest of the time is for comparing them."""
    return Window(conclusion(preset).start, JUDGES_END).part_end(VARIANTS_PART)


def window_end(number: int, count: int) -> float:
    """The end of the aggregation of window number `number` of `count`, from 1, where one follows the other."""
    return RUN_END if number == count else Window(0).paced_end(1 + number, WINDOW_AFTER)


def _proposers_end(preset: Preset) -> float:
    """The end of the last layer of proposers: later than usual if nothing but a quick way to conclude follows it."""
    followed = _replaces_copies(preset) or any(kind.of(preset) is not None for kind in AFTER_LAYER)
    return PROPOSERS_END if followed else preset.conclude.drafts_end or PROPOSERS_END


def _layers_start(preset: Preset) -> float:
    return _route_end(preset) if preset.roles is None else roles_end(preset)


def _route_end(preset: Preset) -> float:
    return 0.0 if preset.route is None else preset.route.share_of_time or SAMPLES_COMPARED_END


def _window_after_layer(layer: int, preset: Preset) -> Window:
    following = proposer_layer_end(layer + 1, preset) if layer < preset.layers - 1 else JUDGES_END
    return Window(proposer_layer_end(layer, preset), following)


def _duplicates_window(preset: Preset) -> Window:
    return Window(proposer_layer_end(1, preset), after_layer(1, preset).duplicates)


def _phase_end(start: float, end: float, most: float) -> float:
    """The end of a phase that begins at `start` and leaves at least half of the time up to `end` to later phases."""
    return start + min(most, (end - start) / 2)
