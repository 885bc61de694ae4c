"""What all sections of the configuration have in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        """Accept sections and lists that are empty: all of them may be commented out."""
        if isinstance(value, dict):
            fields = cls.model_fields
            lists = {name for name, field in fields.items() if isinstance(field.default, tuple)}
            return {k: v for k, v in value.items() if v is not None or k not in lists}
        return {} if value is None else value
