"""What the values that are passed around here have in common."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self, cast, dataclass_transform


@dataclass_transform(frozen_default=True)
class Data:
    """Makes every subclass a dataclass that compares and prints as usual.

    A class becomes a dataclass when its first value is made, because most commands make none, and compiling the methods
    of all classes took half of the time in which this package is imported. The type checker refuses an assignment to a
    field, except where the class says frozen=False.
    """

    def __init_subclass__(cls, *, frozen: bool = True) -> None:
        """`frozen` is for the type checker."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        return super().__new__(cls.complete())

    @classmethod
    def complete(cls) -> type[Self]:
        """Make the class a dataclass, and return it."""
        if "__dataclass_fields__" not in vars(cls):
            for base in cls.__bases__:
                if issubclass(base, Data) and base is not Data:
                    base.complete()
            dataclass(eq=False, repr=False)(cls)
        return cls

    @classmethod
    def field_names(cls) -> list[str]:
        return [field.name for field in fields(cast(Any, cls.complete()))]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # some hold dictionaries; one that holds none may say otherwise

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"
