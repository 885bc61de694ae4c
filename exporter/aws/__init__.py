"""
The door to AWS: the one package that speaks boto3.

Asks questions and answers in our own words (`model`). Every botocore error that leaves this
package leaves it as a `ReadError`.
"""

from exporter.aws.account_refresh import AccountRefresher
from exporter.aws.session import Endpoints, Sessions

OPERATIONS = (
    "AssumeRole",
    "GenerateCredentialReport",
    "GetAccessKeyLastUsed",
    "GetAccountAuthorizationDetails",
    "GetAccountSummary",
    "GetCallerIdentity",
    "GetCredentialReport",
    "ListAccessKeys",
    "ListUserTags",
    "ListUsers",
)
"""All that AWS is ever asked."""

__all__ = ["OPERATIONS", "AccountRefresher", "Endpoints", "Sessions"]
