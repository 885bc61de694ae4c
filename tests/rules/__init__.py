"""Unit tests of the alert rules: scenarios, evaluated by promtool against the shipped files."""
