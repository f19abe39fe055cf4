"""What a person configures in config.yaml, and where that file and its neighbours are.

Only this file declares providers, names key variables and sets ceilings; nothing that arrives over a protocol
reaches these. Keys themselves are never in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from platformdirs import user_config_path, user_data_path
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, field_validator

from moa_mcp.config import yamlfile
from moa_mcp.config.plugins import load_plugins, names_in
from moa_mcp.config.yamlfile import Document, Fingerprint
from moa_mcp.domain.endpoints import BUILTIN, DIALECTS, Endpoint
from moa_mcp.domain.errors import InvalidConfig, NotAllowed
from moa_mcp.domain.fields import ModelId, Name, Seconds, StrictModel
from moa_mcp.domain.preset import Limits
from moa_mcp.domain.stores import STORES

CONFIG = "config.yaml"
"""What errors and results call the configuration file."""

_DEFAULT_PRESET = re.compile(r"""^(\ufeff?["']?default_preset["']?\s*:\s*)["']?[a-z0-9_-]+["']?""")
_Dollars = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _empty_if_none(section: Any) -> Any:
    """A section whose keys are all commented out says nothing."""
    return {} if section is None else section


class LimitSettings(StrictModel):
    """What no run, day or server exceeds. Presets and callers may lower these, never raise them.

    Tokens count both ways, and calls with their retries. Where the price of a model is unknown, those are all
    that limits it, so there are always some: far above what the dollars allow of a model with a price.
    """

    max_calls: Annotated[int, Field(ge=1)] = 40
    max_tokens: Annotated[int, Field(ge=1)] = 2_000_000
    max_cost_usd: _Dollars = 1.0
    deadline_seconds: Seconds = 300
    max_calls_per_day: Annotated[int, Field(ge=1)] = 20_000
    max_tokens_per_day: Annotated[int, Field(ge=1)] = 1_000_000_000
    max_cost_usd_per_day: _Dollars = 20.0
    max_concurrent_runs: Annotated[int, Field(ge=1, le=1000)] = 4

    @property
    def per_run(self) -> Limits:
        """The ceilings of one run."""
        return Limits(
            max_calls=self.max_calls,
            max_tokens=self.max_tokens,
            max_cost_usd=self.max_cost_usd,
            deadline_seconds=self.deadline_seconds,
        )


class NetworkSettings(StrictModel):
    """How other machines are reached. `use_proxy_env`: over the proxies that the environment names."""

    use_proxy_env: bool = False


def _check_store(url: str) -> str:
    STORES.check(urlsplit(url).scheme)
    return url


class StoreSettings(StrictModel):
    """Whether runs are kept, where, for how many days, and in how many megabytes at most.

    `url` is `sqlite:` for runs.db in the data folder, `sqlite:///path` for another file, or what a plug-in knows.
    """

    url: Annotated[str, AfterValidator(_check_store)] = "sqlite:"
    keep_days: Annotated[int, Field(ge=1)] = 30
    max_mb: Annotated[int, Field(ge=1)] = 200
    enabled: bool = True


class ProviderEntry(StrictModel):
    """What a person says of a provider; what is left out of a built-in one stays as it is."""

    base_url: str = ""
    dialect: Annotated[str, AfterValidator(DIALECTS.check)] = "openai"
    api_key_env: str | None = None
    max_concurrency: Annotated[int, Field(ge=1, le=1000)] = 8

    @field_validator("base_url")
    @classmethod
    def _is_safe(cls, url: str) -> str:
        if fault := _url_problem(url):
            raise ValueError(fault)
        return url.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _is_a_variable(cls, name: str | None) -> str | None:
        word = (name or "_").replace("_", "A")
        if not (word.isascii() and word.isalnum() and word.isupper() and not word[0].isdigit()):
            raise ValueError("this is the name of a variable, never a key: capital letters, digits and _, as LAB_KEY")
        return name


class ConfigFile(StrictModel):
    """config.yaml as it is written."""

    plugins: tuple[Annotated[str, StringConstraints(min_length=1, max_length=100)], ...] = ()
    default_preset: Name = "auto"
    providers: Annotated[dict[Name, ProviderEntry], BeforeValidator(_empty_if_none)] = Field({})
    limits: Annotated[LimitSettings, BeforeValidator(_empty_if_none)] = LimitSettings()
    store: Annotated[StoreSettings, BeforeValidator(_empty_if_none)] = StoreSettings()
    network: Annotated[NetworkSettings, BeforeValidator(_empty_if_none)] = NetworkSettings()
    embeddings: ModelId | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration, checked. `endpoints` holds every provider: the built-in and the person's own."""

    default_preset: str = "auto"
    endpoints: Mapping[str, Endpoint] = field(default_factory=lambda: BUILTIN)
    limits: LimitSettings = field(default_factory=LimitSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    embeddings: str | None = None
    network: NetworkSettings = field(default_factory=NetworkSettings)
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the files of one person are: what they write, and what the server keeps."""

    config_file: Path
    presets_folder: Path
    data_folder: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Paths:
        """Everything in one folder."""
        return cls(folder / CONFIG, folder / "presets", folder)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Paths:
        """The folder that MOA_MCP_HOME names, or else the platform's own folders.

        Raises:
            InvalidConfig: MOA_MCP_HOME is relative: what it means would depend on who starts the server.
        """
        if not (named := environ.get("MOA_MCP_HOME", "").strip()):
            config = user_config_path("moa-mcp", appauthor=False)
            return cls(config / CONFIG, config / "presets", user_data_path("moa-mcp", appauthor=False))
        folder = Path(named).expanduser()
        if not folder.is_absolute():
            raise InvalidConfig("MOA_MCP_HOME", "this folder is relative", expected="an absolute path")
        return cls.in_folder(folder)


def load_settings(paths: Paths) -> Settings:
    """Read config.yaml; where there is none, the defaults hold.

    Raises:
        InvalidConfig: it does not say what it should; file, line and key are named.
    """
    try:
        text = yamlfile.read(paths.config_file, CONFIG, InvalidConfig)
    except FileNotFoundError:
        return Settings()
    return settings_from(text)


def load_settings_or_defaults(paths: Paths) -> tuple[Settings, InvalidConfig | None]:
    """As `load_settings`, but of a broken file the defaults hold: the server can start and say why."""
    try:
        return load_settings(paths), None
    except InvalidConfig as problem:
        return Settings(), problem


class LiveSettings:
    """The settings as config.yaml says them now; while it is broken, as it last said them.

    `problem` is what is wrong with it at the moment.
    """

    def __init__(self, paths: Paths) -> None:
        self._home = paths
        self._fingerprint: Fingerprint | None = None
        self._settings = Settings()
        self.problem: InvalidConfig | None = None

    def __call__(self) -> Settings:
        try:
            fingerprint = yamlfile.fingerprint(self._home.config_file)
        except OSError:
            fingerprint = (0, 0, 0)
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self._read()
        return self._settings

    def _read(self) -> None:
        settings, self.problem = load_settings_or_defaults(self._home)
        if self.problem is None:
            self._settings = settings


def settings_from(text: str, file: str = CONFIG) -> Settings:
    """The settings that the text of a configuration file describes. Raises InvalidConfig."""
    document = yamlfile.parse(text, file, InvalidConfig)
    load_plugins(names_in(document.data))
    written = document.into(ConfigFile)
    own = {name: _endpoint(name, entry, document) for name, entry in written.providers.items()}
    return Settings(
        written.default_preset,
        {**BUILTIN, **own},
        written.limits,
        written.store,
        written.embeddings,
        written.network,
        written.plugins,
    )


def with_default_preset(text: str, name: str) -> str:
    """The text of config.yaml with another default preset, and every other line as the person left it.

    Raises:
        InvalidConfig: the file is broken as it is.
        NotAllowed: it is written in a form in which one line cannot be changed alone.
    """
    before = settings_from(text)
    line = yamlfile.parse(text, CONFIG, InvalidConfig).lines.get(("default_preset",))
    value = name if yamlfile.plain(name) == name else f'"{name}"'
    after = _append_value(text, value) if line is None else _replace_value(text, line, value)
    try:
        if settings_from(after) == replace(before, default_preset=name):
            return after
    except InvalidConfig:
        pass
    raise NotAllowed(
        f"{CONFIG} is written in a form that cannot be changed safely from here. "
        f"Set `default_preset: {value}` on a line of its own by hand."
    )


def _replace_value(text: str, line: int, value: str) -> str:
    lines = text.splitlines(keepends=True)
    lines[line - 1] = _DEFAULT_PRESET.sub(lambda found: found[1] + value, lines[line - 1], count=1)
    return "".join(lines)


def _append_value(text: str, value: str) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    return text + ("" if not text or text.endswith("\n") else end) + f"default_preset: {value}{end}"


def _endpoint(name: str, entry: ProviderEntry, document: Document) -> Endpoint:
    """The provider that an entry declares, or the built-in one with what the entry changes."""
    known = BUILTIN.get(name, Endpoint(name))
    endpoint = replace(known, **entry.model_dump(exclude_unset=True))
    place = ("providers", name)
    if not endpoint.base_url and DIALECTS.get(endpoint.dialect).needs_base_url:
        raise document.error("this provider is not built in and has no base_url", place, "a key base_url")
    if known.api_key_env and _moved(known, endpoint) and "api_key_env" not in entry.model_fields_set:
        raise document.error(
            f"base_url leads elsewhere than the built-in {name}, and no key is sent there unasked",
            (*place, "base_url"),
            f"api_key_env beside it: {known.api_key_env} to send that key there, or null to send none",
        )
    return replace(endpoint, local=endpoint.api_key_env is None and _is_local(endpoint))


def _moved(before: Endpoint, after: Endpoint) -> bool:
    old, new = urlsplit(before.base_url), urlsplit(after.base_url)
    return (old.scheme, old.netloc.lower()) != (new.scheme, new.netloc.lower())


def _is_local(endpoint: Endpoint) -> bool:
    return not DIALECTS.get(endpoint.dialect).needs_base_url or _is_loopback(urlsplit(endpoint.base_url).hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _url_problem(url: str) -> str | None:
    """What keeps a URL from being one that calls and a key may go to, or None."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:  # UnicodeError is one: of a name with an empty part, or one of more than 63 letters
        return "this is not a URL"
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "this URL has characters that no URL has"
    if "@" in parts.netloc:
        return "a URL here holds no user name or password; name the variable of a key in api_key_env"
    if "?" in url or "#" in url:
        return "a base URL has no query and no fragment"
    if parts.scheme not in {"http", "https"} or not host:
        return "a base URL begins with https:// and the name of a host"
    if parts.scheme == "http" and not _is_loopback(host):
        return "http is for this computer only (localhost, 127.0.0.1); anything else is reached over https"
    return None
