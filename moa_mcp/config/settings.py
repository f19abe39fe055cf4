"""The settings in config.yaml, and the paths of that file and the other files of one user.

Only config.yaml declares providers, names the variables of keys and sets limits. No request over a protocol can
change them. The file never contains the keys themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from platformdirs import user_config_path, user_data_path
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from moa_mcp.config import yamlfile
from moa_mcp.config.plugins import load_plugins, names_in
from moa_mcp.config.provider_entry import ProviderEntry, endpoint_of
from moa_mcp.config.yamlfile import Fingerprint
from moa_mcp.domain.endpoints import BUILTIN, Endpoint
from moa_mcp.domain.errors import InvalidConfig, NotAllowed
from moa_mcp.domain.fields import ModelId, Name, Seconds, StrictModel
from moa_mcp.domain.preset import Limits, OnUnknownPrice
from moa_mcp.domain.stores import STORES

CONFIG = "config.yaml"
"""The name of the configuration file in errors and results."""

_Dollars = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Positive = Annotated[int, Field(ge=1)]


def _empty_if_none(section: Any) -> Any:
    """Treat a section as empty if all its keys are commented out."""
    return {} if section is None else section


def _or_empty(section: Any) -> BeforeValidator:
    """Allow an empty section, both in the file and in the JSON Schema for editors."""
    return BeforeValidator(_empty_if_none, json_schema_input_type=section | None)


class LimitSettings(StrictModel):
    """What no run, day or server exceeds. Presets and callers may lower these, never raise them.

    Tokens count both ways, and calls with their retries. Where the price of a model is unknown, those are all
    that limits it, so there are always some: far above what the dollars allow of a model with a price.
    """

    max_calls: _Positive = Field(default=40, description="The most model calls of one run, retries included.")
    max_tokens: _Positive = Field(
        default=2_000_000, description="The most tokens of one run, read and written together."
    )
    max_cost_usd: _Dollars = Field(default=1.0, description="The most US dollars that one run may cost.")
    deadline_seconds: Seconds = Field(
        default=300, description="Seconds until a run has to end; it then answers from what is there."
    )
    max_calls_per_day: _Positive = Field(default=20_000, description="The most model calls of all runs of a day.")
    max_tokens_per_day: _Positive = Field(
        default=1_000_000_000, description="The most tokens of all runs of a day, read and written together."
    )
    max_cost_usd_per_day: _Dollars = Field(
        default=20.0, description="The most US dollars that all runs of a day may cost."
    )
    on_unknown_price: OnUnknownPrice = Field(
        default="note",
        description="What to do about models without a known price, which max_cost_usd cannot limit: note or refuse.",
    )
    max_concurrent_runs: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=4, description="How many runs go on at the same time; further ones wait."
    )

    @property
    def per_run(self) -> Limits:
        """The limits of one run."""
        return Limits(
            max_calls=self.max_calls,
            max_tokens=self.max_tokens,
            max_cost_usd=self.max_cost_usd,
            deadline_seconds=self.deadline_seconds,
            on_unknown_price=self.on_unknown_price,
        )


class NetworkSettings(StrictModel):
    """How other machines are reached."""

    use_proxy_env: bool = Field(
        default=False,
        description="Whether calls go through the proxies that the environment names: HTTPS_PROXY, HTTP_PROXY or "
        "ALL_PROXY, but for the hosts in NO_PROXY. Only HTTP proxies are known, no SOCKS.",
    )


def _check_store(url: str) -> str:
    STORES.check(urlsplit(url).scheme)
    return url


class StoreSettings(StrictModel):
    """Where runs are kept so that they can be read, collected and resumed later."""

    url: Annotated[str, AfterValidator(_check_store)] = Field(
        default="sqlite:",
        description="sqlite: keeps them in runs.db in the data folder, sqlite:///path in another file; plug-ins may "
        "know more.",
    )
    keep_days: _Positive = Field(default=30, description="Days until a run is forgotten.")
    max_mb: _Positive = Field(
        default=200, description="The most megabytes that the runs take; the oldest are forgotten first."
    )
    enabled: bool = Field(
        default=True, description="Whether runs are written to disk. false: they are kept in memory only."
    )


class ConfigFile(StrictModel):
    """The configuration of moa-mcp. Every key is optional."""

    plugins: tuple[Annotated[str, StringConstraints(min_length=1, max_length=100)], ...] = Field(
        default=(), description="Installed plug-ins that may be used, by the name of their distribution or entry point."
    )
    default_preset: Name = Field(
        default="auto",
        description="The preset that answers when none is named. auto: the best panel that the keys at hand allow.",
    )
    providers: Annotated[dict[Name, ProviderEntry], _or_empty(dict[Name, ProviderEntry])] = Field(
        default={}, description="More providers by name, or changes to built-in ones."
    )
    limits: Annotated[LimitSettings, _or_empty(LimitSettings)] = Field(
        default=LimitSettings(),
        description="What no run and no day exceeds. Presets and callers may lower it, never raise it.",
    )
    store: Annotated[StoreSettings, _or_empty(StoreSettings)] = Field(
        default=StoreSettings(), description="How long and in how much space runs are kept."
    )
    network: Annotated[NetworkSettings, _or_empty(NetworkSettings)] = Field(
        default=NetworkSettings(), description="How other machines are reached."
    )
    embeddings: ModelId | None = Field(
        default=None,
        description="The embedding model that compares drafts, as provider/model. Unset: they are compared by words.",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """The validated configuration. `endpoints` holds every provider, both built-in and from config.yaml."""

    default_preset: str = "auto"
    endpoints: Mapping[str, Endpoint] = field(default_factory=lambda: BUILTIN)
    limits: LimitSettings = field(default_factory=LimitSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    embeddings: str | None = None
    network: NetworkSettings = field(default_factory=NetworkSettings)
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths of one user: the files that the user writes, and the folder where the server keeps its data."""

    config_file: Path
    presets_folder: Path
    data_folder: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Paths:
        """Put all paths in one folder."""
        return cls(folder / CONFIG, folder / "presets", folder)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Paths:
        """Use the folder in MOA_MCP_HOME, or the platform's default folders if it is not set.

        Raises:
            InvalidConfig: MOA_MCP_HOME is relative. It would depend on the directory where the server is started.
        """
        if not (named := environ.get("MOA_MCP_HOME", "").strip()):
            config = user_config_path("moa-mcp", appauthor=False)
            return cls(config / CONFIG, config / "presets", user_data_path("moa-mcp", appauthor=False))
        folder = Path(named).expanduser()
        if not folder.is_absolute():
            raise InvalidConfig("MOA_MCP_HOME", "this folder is relative", expected="an absolute path")
        return cls.in_folder(folder)


def load_settings(paths: Paths) -> Settings:
    """Read config.yaml. If there is no such file, return the defaults.

    Raises:
        InvalidConfig: the file is invalid; the error names the file, line and key.
    """
    try:
        text = yamlfile.read(paths.config_file, CONFIG, InvalidConfig)
    except FileNotFoundError:
        return Settings()
    return settings_from(text)


def load_settings_or_defaults(paths: Paths) -> tuple[Settings, InvalidConfig | None]:
    """Like `load_settings`, but return defaults and the error for a broken file, so that the server can start."""
    try:
        return load_settings(paths), None
    except InvalidConfig as problem:
        return Settings(), problem


class LiveSettings:
    """The current settings in config.yaml. While the file is broken, the last valid settings apply.

    `problem` is the current error in the file, or None.
    """

    def __init__(self, paths: Paths) -> None:
        self._home = paths
        self._fingerprint: Fingerprint | None = None
        self._settings = Settings()
        self.problem: InvalidConfig | None = None
        self._on_change: list[Callable[[Settings], None]] = []

    def on_change(self, handler: Callable[[Settings], None]) -> None:
        """Call `handler` with the new settings each time the file has changed and is valid."""
        self._on_change.append(handler)

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
            for handler in self._on_change:
                handler(settings)


def settings_from(text: str, file: str = CONFIG) -> Settings:
    """Parse the text of a configuration file. Raises InvalidConfig."""
    document = yamlfile.parse(text, file, InvalidConfig)
    load_plugins(names_in(document.data))  # before validation, which looks up dialects and stores by name
    written = document.into(ConfigFile)
    own = {name: endpoint_of(name, entry, document) for name, entry in written.providers.items()}
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
    """Return the text of config.yaml with another default preset, with no other character changed.

    Raises:
        InvalidConfig: the file is already broken.
        NotAllowed: the form of the file does not allow a change of this value alone.
    """
    before = settings_from(text)
    value = name if yamlfile.plain(name) == name else f'"{name}"'
    after = yamlfile.set_value(text, "default_preset", value)
    try:
        if settings_from(after) == replace(before, default_preset=name):
            return after
    except InvalidConfig:
        pass
    raise NotAllowed(
        f"{CONFIG} is written in a form that cannot be changed safely from here. "
        f"Set `default_preset: {value}` on a line of its own by hand."
    )
