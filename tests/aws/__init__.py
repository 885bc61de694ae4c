"""Tests of `exporter.aws`: against the simulated AWS, through the real clients."""

from collections.abc import Callable

import pytest

from exporter.model import ReportMode
from tests.builders import MonitoredAccount

Monitor = Callable[..., MonitoredAccount]
"""Takes an account, by default PROD, and options of its refresher."""

SHORT_TIMEOUT = 0.1
"""The read timeout of tests with slow responses, in seconds."""

ALL_MODES = pytest.mark.parametrize("report_mode", list(ReportMode))
WITH_REPORTS = pytest.mark.parametrize("report_mode", [ReportMode.GUIDE, ReportMode.VALUES])
EXACT_MODES = pytest.mark.parametrize("report_mode", [ReportMode.GUIDE, ReportMode.OFF])
"""The modes that list users and read last uses at every refresh."""
