"""
AWS: credentials, clients, rate limits, and the refresh of one account.

The only package that uses boto3. It answers in the words of `model`; every failure of AWS leaves
it as the `failure` of a snapshot.
"""

from exporter.aws.account_refresh import AccountRefresher
from exporter.aws.account_session import AccountSessions
from exporter.aws.check import (
    AccountCheck,
    AccountChecker,
    Identities,
    Identity,
)
from exporter.aws.clients import Clients, Endpoints
from exporter.aws.denial import Denial, parse_denial
from exporter.aws.operations import Operation
from exporter.aws.organizations import Discovery, Selection
from exporter.aws.probing import Keys, Outcome, Probe

__all__ = [
    "AccountCheck",
    "AccountChecker",
    "AccountRefresher",
    "AccountSessions",
    "Clients",
    "Denial",
    "Discovery",
    "Endpoints",
    "Identities",
    "Identity",
    "Keys",
    "Operation",
    "Outcome",
    "Probe",
    "Selection",
    "parse_denial",
]
