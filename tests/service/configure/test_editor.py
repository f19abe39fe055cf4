"""What a caller may change, and what stays a person's."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from moa_mcp.config.settings import LiveSettings, Paths, load_settings
from moa_mcp.domain.endpoints import BUILTIN, split_model
from moa_mcp.domain.errors import InvalidConfig, InvalidPreset, InvalidRequest, NotAllowed, UnknownPreset
from moa_mcp.domain.preset import Preset
from moa_mcp.presets.library import SCHEMA_LINE, PresetLibrary
from moa_mcp.service.configure.editor import ChangeRequest, ConfigEditor
from moa_mcp.service.configure.lock import config_lock
from moa_mcp.service.configure.log import ChangeLogFile, Edit

CONFIG = """\
# mine
default_preset: auto   # for now
providers:
  lab: {base_url: "https://lab.example/v1", api_key_env: LAB_KEY}
limits: {max_calls: 20, max_cost_usd: 0.5}
"""
PANEL = "aggregator: lab/agg\nproposers: [lab/a, lab/b]\nlimits: {max_cost_usd: 0.2}\n"


class Keyless:
    """A hand with one key, that of the lab."""

    def is_usable(self, model: str) -> bool:
        return self.missing_key(model) is None

    def missing_key(self, model: str) -> str | None:
        endpoint = BUILTIN.get(split_model(model)[0])
        return endpoint.api_key_env if endpoint else None

    async def local_models(self, provider: str) -> list[str]:
        return []


class Editing:
    """A home folder with its library and the changes to it."""

    def __init__(self, folder: Path) -> None:
        self.home = Paths.in_folder(folder)
        self.library = PresetLibrary(self.home.presets_folder)
        self.settings = LiveSettings(self.home)
        self.changes = ConfigEditor(self.home, self.library, self.settings, Keyless())

    def make(self, **request: Any) -> dict[str, Any]:
        change = self.changes.propose(made := ChangeRequest(**request))
        return {**(self.changes.preview(change) if made.dry_run else self.changes.apply(change))}

    def preset(self, name: str) -> Preset:
        preset = self.library.get(name)
        assert isinstance(preset, Preset)
        return preset

    @property
    def config(self) -> str:
        return self.home.config_file.read_text(encoding="utf-8")

    def files(self) -> dict[str, str]:
        """Every file but the record of changes and the schema for editors."""
        folder = self.home.data_folder
        beside = {"changes.json", "preset.schema.json"}
        paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in beside]
        return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture
def editing(tmp_path: Path) -> Editing:
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "own.yaml").write_text(PANEL, encoding="utf-8")
    return Editing(tmp_path)


def test_the_current_settings_show_keys_only_as_set_or_missing(editing: Editing) -> None:
    editing.home.config_file.write_text(CONFIG + "store: {url: 'sqlite://user:secret@host/x.db'}\n", encoding="utf-8")
    current = editing.changes.current()
    keys = {facts["name"]: (facts["api_key_env"], facts["key"]) for facts in current["providers"]}

    assert (current["default_preset"], current["revision"], current["undoable"]) == ("auto", 0, 0)
    assert keys["lab"] == ("LAB_KEY", "set")
    assert keys["openai"] == ("OPENAI_API_KEY", "missing")
    assert keys["ollama"] == (None, "not needed")
    assert (current["limits"]["max_calls"], current["store"]["url"]) == (20, "sqlite:")
    assert current["config_file"] == str(editing.home.config_file)
    assert current["problem"] is None


def test_the_current_settings_show_the_problem_of_the_file(editing: Editing) -> None:
    editing.home.config_file.write_text("limit: {}\n", encoding="utf-8")

    assert str(editing.changes.current()["problem"]).startswith("config.yaml, line 1: limit: ")


@pytest.mark.parametrize("request_", [{"save_preset": "out", "base": "own"}, {"delete_preset": "out"}])
def test_what_a_link_leads_to_is_shown_in_no_diff_unless_it_is_a_preset(
    editing: Editing, tmp_path: Path, request_: dict[str, Any]
) -> None:
    (tmp_path / "secrets").write_text("password=canary\n", encoding="utf-8")
    (tmp_path / "presets" / "out.yaml").symlink_to(tmp_path / "secrets")

    with pytest.raises(InvalidPreset, match="not a mapping") as refused:
        editing.make(**request_)
    assert "canary" not in str(refused.value)


def test_another_default_preset_is_one_line_of_the_file(editing: Editing) -> None:
    result = editing.make(default_preset="light")

    assert editing.config == CONFIG.replace("default_preset: auto ", "default_preset: light ")
    assert editing.settings().default_preset == "light"
    assert (result["applied"], result["revision"]) == (True, 1)
    assert result["written_to"] == [str(editing.home.config_file)]
    assert "this user" in result["scope"]


def test_the_diff_of_the_configuration_shows_the_changed_line_and_no_other(editing: Editing) -> None:
    assert editing.make(default_preset="light")["diff"].splitlines() == [
        "--- config.yaml",
        "+++ config.yaml",
        "@@ -2 +2 @@",
        "-default_preset: auto   # for now",
        "+default_preset: light   # for now",
    ]


def test_a_configuration_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    editing = Editing(tmp_path / "new")
    result = editing.make(default_preset="light")

    assert editing.config == "default_preset: light\n"
    assert result["diff"].startswith("--- (none)\n+++ config.yaml")


def test_a_dry_run_shows_the_change_and_writes_nothing(editing: Editing) -> None:
    before = editing.files()
    result = editing.make(default_preset="light", dry_run=True)

    assert (result["applied"], result["revision"]) == (False, 0)
    assert "+default_preset: light" in result["diff"]
    assert editing.files() == before
    assert not (editing.home.data_folder / "changes.json").exists()


def test_a_preset_is_saved_on_the_base_of_another(editing: Editing) -> None:
    result = editing.make(save_preset="deep", base="own", fields={"layers": 3, "proposers": ["lab/c", "openai/d"]})
    deep = editing.preset("deep")

    assert (deep.layers, deep.required_models) == (3, ("lab/c", "openai/d", "lab/agg"))
    assert deep.limits.max_cost_usd == 0.2
    assert editing.library.source("deep") == "user"
    assert result["diff"].startswith("--- (none)\n+++ presets/deep.yaml")
    assert result["written_to"] == [str(editing.home.presets_folder / "deep.yaml")]


def test_the_schema_that_a_saved_preset_names_is_beside_it(editing: Editing) -> None:
    beside = editing.home.presets_folder / "preset.schema.json"
    editing.make(save_preset="deep", base="own", fields={"layers": 3})
    first = beside.read_bytes()
    beside.write_text("of an older version", encoding="utf-8")
    editing.make(save_preset="deep", fields={"layers": 2})

    assert (editing.home.presets_folder / "deep.yaml").read_text("utf-8").startswith(SCHEMA_LINE)
    assert beside.read_bytes() == first == editing.library.schema()
    assert editing.library.problems() == []


def test_a_preset_is_saved_and_made_the_default_in_one_change(editing: Editing) -> None:
    result = editing.make(save_preset="new", base="own", fields={"layers": 3}, default_preset="new")

    assert (editing.settings().default_preset, result["revision"], len(result["written_to"])) == ("new", 1, 2)
    editing.make(undo=True)
    assert (editing.config, editing.files()) == (CONFIG, {"config.yaml": CONFIG, "presets/own.yaml": PANEL})


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({"save_preset": "../x", "fields": {}}, InvalidRequest, "save_preset is a name"),
        ({"save_preset": "own", "fields": {"layers": 99}}, InvalidPreset, "layers: this value does not fit"),
        ({"save_preset": "own", "fields": {"aggregator": "evil/x"}}, NotAllowed, "not declared"),
        ({"default_preset": "none"}, UnknownPreset, "no preset 'none'"),
        ({"delete_preset": "none"}, UnknownPreset, "no preset 'none'"),
        ({"delete_preset": "moa"}, NotAllowed, "built in and stays"),
        ({"delete_preset": "own", "default_preset": "own"}, NotAllowed, "is the default preset"),
        ({"save_preset": "own", "delete_preset": "own"}, InvalidRequest, "saved and deleted at once"),
        ({"base": "own"}, InvalidRequest, "belong to save_preset"),
        ({"fields": {"layers": 2}}, InvalidRequest, "belong to save_preset"),
        ({"undo": True}, InvalidRequest, "no change to undo"),
        ({"undo": True, "default_preset": "moa"}, InvalidRequest, "undo cannot be combined"),
        ({"default_preset": "auto"}, InvalidRequest, "Nothing would change"),
        ({"default_preset": "light", "revision": 7}, NotAllowed, "at revision 0, not 7"),
        ({}, InvalidRequest, "Name a change"),
    ],
)
def test_what_may_not_be_changed_is_refused_and_nothing_is_written(
    editing: Editing, request_: dict[str, Any], error: type[Exception], message: str
) -> None:
    before = editing.files()

    with pytest.raises(error, match=message.replace("(", r"\(")):
        editing.make(**request_)
    assert editing.files() == before


def test_providers_ceilings_and_keys_are_as_they_were_after_any_change(editing: Editing) -> None:
    before = load_settings(editing.home)
    editing.make(default_preset="light")
    editing.make(save_preset="new", base="own", fields={"layers": 3})
    after = load_settings(editing.home)

    assert (after.endpoints, after.limits, after.store) == (before.endpoints, before.limits, before.store)


def test_a_preset_of_ones_own_is_deleted(editing: Editing) -> None:
    result = editing.make(delete_preset="own")

    assert "own" not in editing.library.names()
    assert "+++ (none)" in result["diff"]


def test_the_default_preset_is_deleted_only_once_another_is_named(editing: Editing) -> None:
    editing.make(default_preset="own")
    with pytest.raises(NotAllowed, match="is the default preset"):
        editing.make(delete_preset="own")

    editing.make(delete_preset="own", default_preset="light")
    assert (editing.settings().default_preset, "own" in editing.library.names()) == ("light", False)


def test_the_last_changes_are_undone_one_after_the_other(editing: Editing) -> None:
    before = editing.files()
    editing.make(default_preset="light")
    editing.make(save_preset="own", fields={"layers": 3})
    editing.make(delete_preset="own")

    revisions = [editing.make(undo=True)["revision"] for _ in range(3)]

    assert editing.files() == before
    assert revisions == [4, 5, 6]
    with pytest.raises(InvalidRequest, match="no change to undo"):
        editing.make(undo=True)


def test_an_undo_can_be_shown_first(editing: Editing) -> None:
    editing.make(default_preset="light")
    shown = editing.make(undo=True, dry_run=True)

    assert "+default_preset: auto   # for now" in shown["diff"]
    assert editing.settings().default_preset == "light"


def test_a_change_that_another_server_has_half_written_is_not_taken_for_an_edit_by_hand(editing: Editing) -> None:
    editing.make(default_preset="light")
    before = editing.config
    editing.home.config_file.write_text(after := before.replace("light", "moa"), encoding="utf-8")

    @contextmanager
    def once_the_other_is_done() -> Generator[None]:
        history = ChangeLogFile(editing.home.data_folder)
        history.write(history.read().with_change([Edit(place="config.yaml", before=before, after=after)]))
        yield

    changes = ConfigEditor(editing.home, editing.library, editing.settings, Keyless(), once_the_other_is_done)
    with pytest.raises(NotAllowed, match="at revision 2, not 1"):
        changes.propose(ChangeRequest(undo=True, revision=1))


def test_what_was_edited_by_hand_since_is_not_undone(editing: Editing) -> None:
    editing.make(default_preset="light")
    editing.home.config_file.write_text("default_preset: moa\n", encoding="utf-8")

    with pytest.raises(NotAllowed, match=r"config\.yaml was edited by hand"):
        editing.make(undo=True)
    assert editing.config == "default_preset: moa\n"


def test_the_revision_rises_with_every_change_and_a_stale_one_is_refused(editing: Editing) -> None:
    assert editing.make(default_preset="light", revision=0)["revision"] == 1
    assert editing.make(default_preset="moa", revision=1)["revision"] == 2
    with pytest.raises(NotAllowed, match="at revision 2, not 1"):
        editing.make(default_preset="light", revision=1)


def test_a_change_that_was_laid_out_before_another_is_not_made(editing: Editing) -> None:
    laid_out = editing.changes.propose(ChangeRequest(default_preset="light"))
    editing.make(default_preset="moa")

    with pytest.raises(NotAllowed, match="at revision 1, not 0"):
        editing.changes.apply(laid_out)
    assert editing.settings().default_preset == "moa"


def test_a_change_is_not_made_over_an_edit_by_hand(editing: Editing) -> None:
    laid_out = editing.changes.propose(ChangeRequest(default_preset="light"))
    edited = CONFIG + "store: {keep_days: 1}\n"
    editing.home.config_file.write_text(edited, encoding="utf-8")

    with pytest.raises(NotAllowed, match=r"config\.yaml was changed meanwhile"):
        editing.changes.apply(laid_out)
    assert editing.config == edited


def test_two_servers_share_one_record_of_changes(editing: Editing) -> None:
    other = Editing(editing.home.data_folder)
    editing.make(default_preset="light")

    assert other.changes.current()["revision"] == 1
    other.make(undo=True)
    assert editing.changes.current()["revision"] == 2


def test_other_writers_are_kept_out_while_a_change_is_made(editing: Editing) -> None:
    seen: list[str] = []

    @contextmanager
    def exclusively() -> Generator[None]:
        seen.append(editing.config)
        yield
        seen.append(editing.config)

    changes = ConfigEditor(editing.home, editing.library, editing.settings, Keyless(), exclusively)
    changes.apply(changes.propose(ChangeRequest(default_preset="light")))

    assert ["light" in text for text in seen] == [False, True]


def test_a_change_log_with_another_path_is_an_error_and_not_followed(editing: Editing) -> None:
    record = editing.home.data_folder / "changes.json"
    record.write_text("{}x", encoding="utf-8")
    with pytest.raises(InvalidConfig, match=r"changes\.json: this is no record of changes"):
        editing.changes.current()

    record.write_text(
        '{"revision": 1, "changes": [[{"place": "presets/../../x.yaml", "before": "a: 1", "after": null}]]}',
        encoding="utf-8",
    )
    with pytest.raises(InvalidConfig, match="none of the presets"):
        editing.make(undo=True)


def test_the_record_is_for_its_owner_alone_and_bounded(editing: Editing) -> None:
    for number in range(15):
        editing.make(default_preset=("light", "moa")[number % 2])
    record = editing.home.data_folder / "changes.json"

    assert record.stat().st_mode & 0o077 == 0
    assert (editing.changes.current()["revision"], editing.changes.current()["undoable"]) == (15, 10)


def test_a_broken_configuration_is_not_touched(editing: Editing) -> None:
    editing.home.config_file.write_text("limit: {}\n", encoding="utf-8")

    with pytest.raises(InvalidConfig, match=r"config\.yaml, line 1"):
        editing.make(default_preset="light")
    assert editing.config == "limit: {}\n"


def test_the_error_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "presets").symlink_to("/proc/none")  # where no user, not even root, can make a folder
    editing = Editing(tmp_path)

    with pytest.raises(NotAllowed, match="could not be written"):
        editing.make(save_preset="new", base="light")
    assert editing.changes.current()["revision"] == 0


def test_of_a_change_that_cannot_be_written_as_a_whole_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").symlink_to("/proc/none/config.yaml")
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "own.yaml").write_text(panel := PANEL.replace("lab", "demo"), encoding="utf-8")
    editing = Editing(tmp_path)

    for name in ("own", "new"):
        with pytest.raises(NotAllowed, match="could not be written"):
            editing.make(save_preset=name, base="own", fields={"layers": 3}, default_preset=name)
    assert editing.files() == {"presets/own.yaml": panel}


def test_a_home_that_is_not_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file in its place", encoding="utf-8")

    with pytest.raises(InvalidConfig, match="cannot be read"):
        Editing(tmp_path / "home").changes.current()


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    refused = pytest.raises(NotAllowed, match=r"cannot be changed \(.*\)\. Make .*/file/home writable\.")
    with refused, config_lock(tmp_path / "file" / "home"):
        raise AssertionError("nobody gets here")
