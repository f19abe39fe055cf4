"""Registries: the variants of one thing, e.g. all ways to conclude, each registered beside its own code.

A registry knows the package that holds the built-in variants (`home`) and imports it when a variant is first looked
up. So the inner rooms can check what a preset says without importing the flows that carry it out.
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
"""Plug-ins that a person named and that could not be loaded, with the reason: one of them may be what is missing."""


class Registry(Generic[Variant]):
    """Variants of one `kind` by name, e.g. of kind "dialect". Names are unique and cannot be replaced."""

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

    def load_home(self) -> None:
        """Import every module of the package with the built-in variants, unless that was done before."""
        if not self._is_home_loaded:
            package = import_module(self._home)
            for module in iter_modules(package.__path__, f"{self._home}."):
                import_module(module.name)
            self._is_home_loaded = True

    def all(self) -> Mapping[str, Variant]:
        """All variants by name, in the order of their names: which module is imported first changes nothing."""
        self.load_home()
        return dict(sorted(self._variants.items()))

    def get(self, name: str) -> Variant:
        """The variant of that name.

        Raises:
            InvalidRequest: there is none; the known names are listed, nearest first.
        """
        if name not in self.all():
            known = f"Known, nearest first: {self.nearest_first(name)}"
            raise InvalidRequest(f"There is no {self.kind} {one_line(name, 60)!r}. {known}.")
        return self.all()[name]

    def nearest_first(self, name: str) -> str:
        """The known names as text, those like `name` first, and the plug-ins that could not be loaded."""
        failed = "".join(f"; the plug-in {plugin} was not loaded: {why}" for plugin, why in PLUGIN_FAILURES.items())
        return f"{', '.join(map(repr, sort_by_closeness(name, self.all())))}{failed}"

    def check(self, name: str) -> str:
        """`name` itself, if there is such a variant: for a field that holds one. Raises PydanticCustomError."""
        if name not in self.all():
            raise constraint_error(f"there is no {self.kind} of this name", f"one of {self.nearest_first(name)}")
        return name


class Variants(Registry[type[Spec]]):
    """The specs that one key of a preset may hold, each with the function that carries it out.

    As an annotation, `Annotated[ConcludeSpec, CONCLUDES]`, it makes pydantic pick the spec's class by the key
    `discriminator`. Where that is None there is only one class.
    """

    def __init__(self, key: str, base: type[Spec], discriminator: str | None, home: str) -> None:
        super().__init__(f"{key} method" if discriminator else f"{key} stage", home)
        self.key = key
        self._base = base
        self._discriminator = discriminator
        self._functions: dict[type[StrictModel], Callable[..., Any]] = {}
        self._cached_adapter: TypeAdapter[Spec] | None = None

    def register(self, spec: type[Spec]) -> Callable[[Function], Function]:
        """Register a spec together with the function that is decorated with this.

        The spec's name is what its discriminator field says: `by: Literal["vote"]`.

        Raises:
            ValueError: there is a variant of that name.
        """

        def decorate(function: Function) -> Function:
            self.add(_literal(spec, self._discriminator) if self._discriminator else self.key, spec)
            self._functions[spec] = function
            self._cached_adapter = None
            return function

        return decorate

    def function(self, spec: StrictModel) -> Callable[..., Any]:
        """What was registered with the class of `spec`."""
        self.load_home()
        return self._functions[type(spec)]

    def name(self, spec: StrictModel) -> str:
        """The name under which the class of `spec` was registered."""
        return next(name for name, registered in self.all().items() if registered is type(spec))

    def parse(self, value: Any) -> Spec:
        """The spec that a mapping describes; a spec stays as it is.

        Raises:
            ValidationError: the mapping does not fit the variant that it names.
            PydanticCustomError: there is no such variant.
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
    """The only value that a field may have, declared as `Literal["value"]`."""
    (value,) = get_args(spec.model_fields[field].annotation)
    return str(value)
