"""
AWS: credentials, clients, rate limits, and the refresh of one account.

The only package that uses boto3. It answers in the words of `model`; every failure of AWS leaves
it as the `failure` of a snapshot.
"""

from exporter.aws.account_refresh import AccountRefresher
from exporter.aws.account_session import AccountSessions
from exporter.aws.clients import Clients, Endpoints
from exporter.aws.operations import Operation
from exporter.aws.organizations import Discovery, Selection

__all__ = [
    "AccountRefresher",
    "AccountSessions",
    "Clients",
    "Discovery",
    "Endpoints",
    "Operation",
    "Selection",
]
