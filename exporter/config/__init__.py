"""The configuration: YAML to one frozen `Config`, or every problem at once."""

from exporter.config.accounts import Selection
from exporter.config.differences import differences
from exporter.config.document import Problem
from exporter.config.files import checksums
from exporter.config.load import ConfigError, load, parse
from exporter.config.schema import Config, label_of_tag
from exporter.config.summary import summarize
from exporter.config.values import parse_duration
from exporter.config.warnings import warnings_of

__all__ = [
    "Config",
    "ConfigError",
    "Problem",
    "Selection",
    "checksums",
    "differences",
    "label_of_tag",
    "load",
    "parse",
    "parse_duration",
    "summarize",
    "warnings_of",
]
