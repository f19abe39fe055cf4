"""What a person configures, and where it is."""

from pathlib import Path

import pytest

from moa_mcp.config.settings import (
    LiveSettings,
    Paths,
    Settings,
    load_settings,
    load_settings_or_defaults,
    settings_from,
    with_default_preset,
)
from moa_mcp.domain.endpoints import BUILTIN, Endpoint
from moa_mcp.domain.errors import InvalidConfig, NotAllowed
from moa_mcp.domain.preset import Limits

EXAMPLE = """\
default_preset: auto            # the best panel
providers:                      # adds to the table
  lab: {base_url: "http://127.0.0.1:8081/v1", dialect: openai, api_key_env: LAB_KEY, max_concurrency: 4}
limits: {max_calls: 9, max_cost_usd: 1, deadline_seconds: 60, max_cost_usd_per_day: 5, max_concurrent_runs: 2}
store: {keep_days: 7, max_mb: 50, enabled: false}
embeddings: openai/text-embedding-3-small
"""


def refusal(text: str) -> str:
    with pytest.raises(InvalidConfig) as refused:
        settings_from(text)
    return str(refused.value)


def provider(entry: str) -> Endpoint:
    return settings_from(f"providers:\n  lab: {entry}").endpoints["lab"]


def test_the_example_of_the_documentation_is_read() -> None:
    settings = settings_from(EXAMPLE)

    assert settings.default_preset == "auto"
    assert settings.endpoints["lab"] == Endpoint(
        "lab", "http://127.0.0.1:8081/v1", api_key_env="LAB_KEY", max_concurrency=4
    )
    limits = Limits(max_calls=9, max_tokens=2_000_000, max_cost_usd=1, deadline_seconds=60, on_unknown_price="note")
    assert settings.limits.per_run == limits
    assert (settings.limits.max_cost_usd_per_day, settings.limits.max_concurrent_runs) == (5, 2)
    assert (settings.store.keep_days, settings.store.max_mb, settings.store.enabled) == (7, 50, False)
    assert settings.embeddings == "openai/text-embedding-3-small"


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(Paths.in_folder(tmp_path))

    assert settings == Settings()
    limits = Limits(max_calls=40, max_tokens=2_000_000, max_cost_usd=1.0, deadline_seconds=300, on_unknown_price="note")
    assert settings.limits.per_run == limits
    assert (settings.limits.max_cost_usd_per_day, settings.limits.max_concurrent_runs) == (20, 4)
    assert (settings.store.keep_days, settings.store.max_mb, settings.store.enabled) == (30, 200, True)
    assert (settings.default_preset, settings.endpoints) == ("auto", BUILTIN)


def test_sections_whose_keys_are_commented_out_change_nothing() -> None:
    assert settings_from("limits:\n  # max_calls: 10\nproviders:\nstore:\n") == Settings()


def test_an_entry_for_a_built_in_provider_changes_only_what_it_names() -> None:
    openai = settings_from("providers: {openai: {max_concurrency: 2}}").endpoints["openai"]

    assert openai == Endpoint("openai", "https://api.openai.com/v1", api_key_env="OPENAI_API_KEY", max_concurrency=2)


def test_a_server_on_this_computer_that_needs_no_key_is_local() -> None:
    assert provider('{base_url: "http://localhost:9000/v1/"}') == Endpoint(
        "lab", "http://localhost:9000/v1", local=True
    )
    assert not provider('{base_url: "http://[::1]:9000", api_key_env: LAB_KEY}').local
    assert not provider('{base_url: "https://lab.example"}').local


@pytest.mark.parametrize("path", ["chat/completions", "chat/completions/", "messages", "completions", "embeddings"])
def test_a_base_url_that_was_copied_with_the_path_of_a_request_loses_it(path: str) -> None:
    assert provider(f'{{base_url: "https://lab.example/v1/{path}"}}').base_url == "https://lab.example/v1"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://lab.example/v1", "http is for this computer only"),
        ("http://127.0.0.1.evil.example", "http is for this computer only"),
        ("http://0.0.0.0:80", "http is for this computer only"),
        ("http://169.254.169.254/latest", "http is for this computer only"),
        ("https://user:secret@lab.example", "holds no user name or password"),
        ("https://127.0.0.1:1@evil.example", "holds no user name or password"),
        ("https://lab.example?key=secret", "no query and no fragment"),
        ("https://lab.example/#secret", "no query and no fragment"),
        ("ftp://lab.example", "begins with https://"),
        ("//lab.example", "begins with https://"),
        ("https://", "begins with https://"),
        ("lab.example/v1", "begins with https://"),
        ("https://lab.example:99999", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://lab..example", "is not a URL"),
        (f"https://{'a' * 64}.example", "is not a URL"),
        ("https://lab.example/a b", "characters that no URL has"),
        ("https://lab.example/\\\\x", "characters that no URL has"),
        ("https://läb.example", "characters that no URL has"),
    ],
)
def test_a_base_url_that_calls_should_not_go_to_is_refused(url: str, problem: str) -> None:
    message = refusal(f'providers:\n  lab:\n    base_url: "{url}"\n')

    assert message.startswith("config.yaml, line 3: providers.lab.base_url: ")
    assert problem in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("providers:\n  lab: {}", "line 2: providers.lab: this provider is not built in and has no base_url"),
        (
            "providers:\n  Lab: {}",
            "line 2: providers.Lab: this value does not fit. Expected a name of lower-case",
        ),
        (
            "providers:\n  lab:\n    api_key: x",
            "line 3: providers.lab.api_key: unknown key 'api_key' (did you mean 'api_key_env'?)",
        ),
        (
            "providers:\n  lab:\n    dialect: smoke",
            "line 3: providers.lab.dialect: there is no dialect of this name. Expected one of 'anthropic', ",
        ),
        (
            "providers:\n  lab:\n    max_concurrency: 0",
            "line 3: providers.lab.max_concurrency: this value does not fit",
        ),
        ("limit: {}", "line 1: limit: unknown key 'limit' (did you mean 'limits'?)"),
        (
            "limits:\n  max_calls: 0",
            "line 2: limits.max_calls: this value does not fit. Expected greater than or equal to 1",
        ),
        (
            "limits:\n  max_cost_usd: inf",
            "line 2: limits.max_cost_usd: this value does not fit. Expected a finite number",
        ),
        (
            "limits:\n  max_cost: 1",
            "line 2: limits.max_cost: unknown key 'max_cost' (did you mean 'max_cost_usd'?)",
        ),
        ("limits: 3", "line 1: limits: this value does not fit. Expected keys with values"),
        (
            "store:\n  url: postgres://lab",
            "line 2: store.url: there is no store of this name. Expected one of 'memory', 'sqlite'",
        ),
        ("store:\n  keep_days: 0", "line 2: store.keep_days: this value does not fit"),
        ("embeddings: openai", "line 1: embeddings: this value does not fit. Expected provider/model"),
        (
            "default_preset: ../x",
            "line 1: default_preset: this value does not fit. Expected a name of lower-case",
        ),
        (
            "default_preset: a\ndefault_preset: b",
            "line 2: default_preset: this key was already given on line 1",
        ),
    ],
)
def test_a_fault_is_told_with_file_line_and_key(text: str, message: str) -> None:
    assert refusal(text).startswith(f"config.yaml, {message}")


@pytest.mark.parametrize("name", ["sk-live-secret", "lab_key", "1KEY", "KEY NAME", "KÉY", "$KEY"])
def test_what_is_no_variable_is_refused_and_not_repeated(name: str) -> None:
    message = refusal(f'providers:\n  lab:\n    base_url: https://lab.example\n    api_key_env: "{name}"\n')

    assert message.startswith("config.yaml, line 4: providers.lab.api_key_env: this is the name of a variable")
    assert name not in message


def test_the_key_of_a_built_in_provider_goes_elsewhere_only_if_it_is_named_again() -> None:
    moved = "providers:\n  openai:\n    base_url: https://proxy.example/v1\n"

    assert "line 3: providers.openai.base_url: " in refusal(moved)
    assert settings_from(moved + "    api_key_env: OPENAI_API_KEY\n").endpoints["openai"].api_key_env
    assert settings_from(moved + "    api_key_env: null\n").endpoints["openai"].api_key_env is None
    assert settings_from(moved.replace("proxy.example/v1", "api.openai.com/v2")).endpoints["openai"].api_key_env


def test_of_a_broken_file_the_defaults_hold_and_the_problem_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("limits:\n  max_call: 3\n", encoding="utf-8")
    settings, problem = load_settings_or_defaults(Paths.in_folder(tmp_path))

    assert settings == Settings()
    assert str(problem).startswith("config.yaml, line 2: limits.max_call: ")


def test_settings_follow_the_file_and_outlive_its_breaking(tmp_path: Path) -> None:
    home = Paths.in_folder(tmp_path)
    live = LiveSettings(home)
    assert live() == Settings()

    home.config_file.write_text("default_preset: light\n", encoding="utf-8")
    assert live().default_preset == "light"

    home.config_file.write_text("default_preset: [light]\n", encoding="utf-8")
    assert live().default_preset == "light"
    assert live.problem is not None

    home.config_file.write_text("default_preset: moa\n", encoding="utf-8")
    assert live().default_preset == "moa"
    assert live.problem is None


def test_one_variable_names_the_folder_of_everything(tmp_path: Path) -> None:
    home = Paths.from_environ({"MOA_MCP_HOME": str(tmp_path)})

    assert home == Paths(tmp_path / "config.yaml", tmp_path / "presets", tmp_path)


def test_without_it_the_folders_of_the_platform_are_used() -> None:
    for environ in ({}, {"MOA_MCP_HOME": ""}):
        home = Paths.from_environ(environ)

        assert home.config_file.is_absolute()
        assert "moa-mcp" in home.presets_folder.parts
        assert "moa-mcp" in home.data_folder.parts


def test_a_relative_folder_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="MOA_MCP_HOME: this folder is relative"):
        Paths.from_environ({"MOA_MCP_HOME": "moa"})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "default_preset: light\n"),
        ("limits: {max_calls: 3}", "limits: {max_calls: 3}\ndefault_preset: light\n"),
        (
            "# mine\n\ndefault_preset: auto   # best\nlimits: {}\n",
            "# mine\n\ndefault_preset: light   # best\nlimits: {}\n",
        ),
        ('"default_preset" : "auto"\r\nlimits: {}\r\n', '"default_preset" : light\r\nlimits: {}\r\n'),
        ("limits: {max_calls: 3}\r\n", "limits: {max_calls: 3}\r\ndefault_preset: light\r\n"),
        (
            "limits:\n  # default_preset: x\ndefault_preset: auto\n",
            "limits:\n  # default_preset: x\ndefault_preset: light\n",
        ),
        ("{default_preset: auto, limits: {max_calls: 3}}\n", "{default_preset: light, limits: {max_calls: 3}}\n"),
        ("default_preset:\n    auto  # here\n", "default_preset:\n    light  # here\n"),
        ("\ufeff'default_preset':   'auto'\n", "\ufeff'default_preset':   light\n"),
        (
            "limits:\n    max_calls:   3\n\n# é, 🦉\ndefault_preset: auto",
            "limits:\n    max_calls:   3\n\n# é, 🦉\ndefault_preset: light",
        ),
    ],
)
def test_another_default_preset_leaves_every_other_character_as_it_was(before: str, after: str) -> None:
    assert with_default_preset(before, "light") == after


def test_a_name_that_looks_like_a_number_is_quoted() -> None:
    assert settings_from(with_default_preset("default_preset: auto\n", "123")).default_preset == "123"


@pytest.mark.parametrize(
    "text",
    [
        "{limits: {max_calls: 3}}\n",
        "limits: {max_calls: 3}\n...\n",
    ],
)
def test_a_form_in_which_the_value_cannot_be_set_alone_is_left_as_it_is(text: str) -> None:
    with pytest.raises(NotAllowed, match="by hand"):
        with_default_preset(text, "light")


def test_a_broken_file_is_not_changed() -> None:
    with pytest.raises(InvalidConfig, match="line 1"):
        with_default_preset("limit: {}\n", "light")


def test_proxies_of_the_environment_are_used_only_where_the_file_says_so() -> None:
    assert not settings_from("").network.use_proxy_env
    assert settings_from("network: {use_proxy_env: true}").network.use_proxy_env


def test_tokens_and_calls_have_ceilings_of_their_own() -> None:
    limits = settings_from("limits: {max_tokens: 9, max_calls_per_day: 8, max_tokens_per_day: 7}").limits

    assert (limits.per_run.max_tokens, limits.max_calls_per_day, limits.max_tokens_per_day) == (9, 8, 7)
