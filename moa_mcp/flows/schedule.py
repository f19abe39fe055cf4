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
| extractor, merger | .80, .95 of the time after it   | the merger writes an answer that may be the last one      |
| variants          | three quarters of the judges'   | they are compared in the last quarter                     |
| judges            | .80                             | the aggregator still has to write                         |
| writing           | 1, in equal steps by model      | the fallbacks need time as well                           |
| method in a slot  | .95 of the time of its slot     | its result must still be returned                         |
| a program         | .80 of the time of its slot     | a model must still write a reply from its result          |

After a layer, each phase takes at most half of the time that is left, except the extractor and the merger.
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
MERGER_PART = 0.95
VARIANTS_PART = 0.75
JUDGES_END = 0.80
COMPARED_ANSWER_END = 0.95
RUN_END = 1.0
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
    """The end of proposer layer number `layer`. All later layers have equal time; the first has at least as much."""
    layers = preset.layers - 1
    start = _route_end(preset) if preset.roles is None else roles_end(preset)
    each = min(MAX_LATER_LAYER_TIME, (PROPOSERS_END - start) / layers)
    return PROPOSERS_END - (layers - layer) * each


def after_layer(layer: int, preset: Preset) -> AfterLayer:
    """The ends of the phases after proposer layer number `layer`, in the order in which they run."""
    window = _window_after_layer(layer, preset)
    end = window.start
    if layer == 1 and preset.route is not None and preset.route.copy_similarity is not None:
        end = _phase_end(end, window.end, MAX_DUPLICATES_TIME)
    duplicates, stages = end, dict[str, float]()
    for kind in AFTER_LAYER:
        if kind.of(preset) is not None and kind is not RESIDUALS:
            end = _phase_end(end, window.end, MAX_STAGE_TIME)
        elif kind.of(preset) is not None and layer > 1:
            end = window.part_end(EXTRACTOR_PART)
        stages[kind.key] = end
    merges = any(kind.end_of_layer(kind.of(preset)) for kind in AFTER_LAYER)
    return AfterLayer(duplicates, stages, window.part_end(MERGER_PART) if merges else end)


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
