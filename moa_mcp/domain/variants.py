"""Registries of variants, e.g. all ways to conclude. Each variant is registered in the module of its code.

A registry imports the package of its built-in variants (`home`) when a variant is first looked up. So the inner
packages can validate a preset without importing the flows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, Any, Generic, TypeVar, cast, get_args

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from moa_mcp.domain.errors import InvalidRequest, sort_by_closeness
from moa_mcp.domain.fields import StrictModel, constraint_error
from moa_mcp.domain.text import one_line

Variant = TypeVar("Variant")
Spec = TypeVar("Spec", bound=StrictModel)
Function = TypeVar("Function", bound=Callable[..., Any])


PLUGIN_FAILURES: dict[str, str] = {}
"""Plug-ins in config.yaml that failed to load, with the reason. An unknown variant may belong to one of them."""


PLUGIN_OF: dict[object, tuple[str, str]] = {}
"""The distribution, and its version, of each variant that a plug-in added."""


class VariantRegistry(Generic[Variant]):
    """Variants of one `kind` by name, e.g. of kind "dialect". A name cannot be registered twice."""

    def __init__(self, kind: str, home: str) -> None:
        self.kind = kind
        self._home = home
        self._is_home_loaded = False
        self._variants: dict[str, Variant] = {}

    def add(self, name: str, variant: Variant) -> None:
        """Register `variant` under `name`.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._variants:
            raise ValueError(f"There is already a {self.kind} {name!r}, and it cannot be replaced. Use another name.")
        self._variants[name] = variant

    @property
    def is_extended(self) -> bool:
        """Whether a module outside the package has registered a variant."""
        package = self._home.partition(".")[0]
        return any(variant.__module__.partition(".")[0] != package for variant in self._variants.values())

    def load_home(self) -> None:
        """Import every module of the package with the built-in variants, once."""
        if not self._is_home_loaded:
            package = import_module(self._home)
            for module in iter_modules(package.__path__, f"{self._home}."):
                import_module(module.name)
            self._is_home_loaded = True

    def all(self) -> Mapping[str, Variant]:
        """Return all variants by name, sorted by name, so that the import order does not matter."""
        self.load_home()
        return dict(sorted(self._variants.items()))

    def get(self, name: str) -> Variant:
        """Return the variant with that name.

        Raises:
            InvalidRequest: there is none; the message lists the known names, the most similar first.
        """
        if name not in self.all():
            known = f"Known, nearest first: {self.nearest_first(name)}"
            raise InvalidRequest(f"There is no {self.kind} {one_line(name, 60)!r}. {known}.")
        return self.all()[name]

    def nearest_first(self, name: str) -> str:
        """Return the known names as text, the most similar first, and the plug-ins that failed to load."""
        failed = "".join(f"; the plug-in {plugin} was not loaded: {why}" for plugin, why in PLUGIN_FAILURES.items())
        return f"{', '.join(map(repr, sort_by_closeness(name, self.all())))}{failed}"

    def check(self, name: str) -> str:
        """Validate a field that holds the name of a variant. Raises PydanticCustomError for an unknown name."""
        if name not in self.all():
            raise constraint_error(f"there is no {self.kind} of this name", f"one of {self.nearest_first(name)}")
        return name


class Variants(VariantRegistry[type[Spec]]):
    """The specs that one key of a preset may hold, each with the function that implements it.

    In an annotation, `Annotated[ConcludeSpec, CONCLUDES]`, it makes pydantic choose the spec's class by the key
    `discriminator`. If `discriminator` is None, there is only one class.
    """

    def __init__(self, key: str, base: type[Spec], discriminator: str | None, home: str) -> None:
        super().__init__(f"{key} method" if discriminator else f"{key} stage", home)
        self.key = key
        self._base = base
        self._discriminator = discriminator
        self._functions: dict[type[StrictModel], Callable[..., Any]] = {}
        self._ends_of_layer: dict[type[StrictModel], Callable[..., Any]] = {}
        self._cached_adapter: TypeAdapter[Spec] | None = None

    def register(
        self, spec: type[Spec], end_of_layer: Callable[..., Any] | None = None
    ) -> Callable[[Function], Function]:
        """Register a spec together with the decorated function.

        The spec's name is the value of its discriminator field: `by: Literal["vote"]`. `end_of_layer` takes the same
        arguments as the function. It runs after all stages of a layer, even if one of them stopped the layers.

        Raises:
            ValueError: the name is taken.
        """

        def decorate(function: Function) -> Function:
            self.add(_literal(spec, self._discriminator) if self._discriminator else self.key, spec)
            self._functions[spec] = function
            if end_of_layer is not None:
                self._ends_of_layer[spec] = end_of_layer
            self._cached_adapter = None
            return function

        return decorate

    def function(self, spec: StrictModel) -> Callable[..., Any]:
        """Return the function that was registered with the class of `spec`."""
        self.load_home()
        return self._functions[type(spec)]

    def end_of_layer(self, spec: StrictModel | None) -> Callable[..., Any] | None:
        """Return the function for the end of each layer that was registered with the class of `spec`, if any."""
        self.load_home()
        return self._ends_of_layer.get(type(spec)) if spec is not None else None

    def of(self, preset: object) -> Spec | None:
        """Return the spec under this key of a preset."""
        spec: Spec | None = getattr(preset, self.key)
        return spec

    def name(self, spec: StrictModel) -> str:
        """Return the name under which the class of `spec` was registered."""
        return next(name for name, registered in self.all().items() if registered is type(spec))

    def parse(self, value: Any) -> Spec:
        """Turn a mapping into its spec; a spec is returned unchanged.

        Raises:
            ValidationError: the mapping is invalid for its variant.
            PydanticCustomError: the variant is unknown.
        """
        if isinstance(value, self._base) and type(value) in self._functions:
            return value
        name = cast("Mapping[str, Any]", value).get(self._discriminator or "") if isinstance(value, dict) else None
        if self._discriminator and isinstance(name, str) and name not in self.all():
            raise constraint_error(
                f"there is no {self.kind} of this name", f"one of {self.nearest_first(name)}", self._discriminator
            )
        return self._adapter().validate_python(value)

    def _adapter(self) -> TypeAdapter[Spec]:
        if self._cached_adapter is None:
            specs: Sequence[Any] = list(self.all().values())
            union: Any = specs[0]
            for spec in specs[1:]:
                union = union | spec
            if len(specs) > 1:
                union = Annotated[union, Field(discriminator=self._discriminator)]
            self._cached_adapter = TypeAdapter(union)
        return self._cached_adapter

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(self._adapter().core_schema)


def _literal(spec: type[StrictModel], field: str) -> str:
    """Return the only value of a field that is declared as `Literal["value"]`."""
    (value,) = get_args(spec.model_fields[field].annotation)
    return str(value)
