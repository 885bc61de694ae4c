"""Tests of the dashboards and their recording rules."""
