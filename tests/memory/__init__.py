"""Tests of what the exporter remembers, and of the events that it notices."""
