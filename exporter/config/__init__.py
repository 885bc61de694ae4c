"""The configuration: YAML to one frozen `Config`, or every problem at once."""

from exporter.config.load import ConfigError, Problem, load, parse
from exporter.config.schema import Config, label_of_tag
from exporter.config.summary import summarize

__all__ = ["Config", "ConfigError", "Problem", "label_of_tag", "load", "parse", "summarize"]
