"""
The PromQL of the dashboards. Each expression is defined once, here.

The exporter counts keys by account (`aws_iam_account_access_keys_*`): numbers and charts sum these
counts. Lists select keys, and restrict them before they are joined with anything.

Replicas of the exporter report the same facts, so everything is aggregated by key or by account.
A finding is a key that is unused, never used or not rotated. Exempt keys are not findings, and keys
whose last use is unknown are not counted as unused or never used, so every count comes with what it
covers. An expression has no result where the answer is unknown, and 0 where it is none. What a
panel shows while there is no exporter is `NO_EXPORTER`.

Functions take *where*, label matchers that select keys or accounts; without any, they select all.
"""

# ruff: noqa: F403 -- callers use the names as one vocabulary
from grafana.queries.accounts import *
from grafana.queries.counts import *
from grafana.queries.events import *
from grafana.queries.families import *
from grafana.queries.keys import *
from grafana.queries.selectors import *
from grafana.queries.unknown import *
