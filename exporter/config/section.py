"""What all sections of the configuration have in common."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from exporter.config.files import SECRET_FILES, SUFFIX, read_text
from exporter.config.values import invalid


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        """
        Accept sections and lists that are empty: all of them may be commented out.

        Secrets that are in files are read.
        """
        if isinstance(value, dict):
            fields = cls.model_fields
            lists = {name for name, field in fields.items() if isinstance(field.default, tuple)}
            given = {k: v for k, v in value.items() if v is not None or k not in lists}
            return given | {
                option: _secret(given, option)
                for name in sorted(SECRET_FILES & fields.keys() & given.keys())
                if isinstance(given[name], str) and (option := name.removesuffix(SUFFIX))
            }
        return {} if value is None else value


def _secret(given: Mapping[str, Any], option: str) -> str:
    """Read the value of *option* from the file that is *given* for it."""
    if given.get(option) is not None:
        raise invalid(f"{option} and {option}{SUFFIX} exclude each other")
    try:
        return read_text(given[f"{option}{SUFFIX}"]).strip()
    except ValueError as error:
        raise invalid(f"{option}{SUFFIX}: cannot read file: {error}") from error
