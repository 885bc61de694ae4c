"""
A simulated AWS for tests: IAM, STS and Organizations over HTTP, behaving like the real ones.

Faithful in what matters to an exporter of access keys: pagination, isolation of accounts,
AccessDenied for a deleted key, the states, cache and root row of the credential report, throttling,
expiring sessions. Every call is counted, and faults can be injected. Signatures are not checked and
policies not evaluated: `Account.deny` takes permissions away.

    with FakeAws() as aws:
        account = aws.account("111111111111")
        account.role("aws-iam-key-exporter")
        account.add_user("alice").add_key().use("s3", "eu-west-1")
        aws.fault(Fault(operation="ListUsers", code="Throttling", times=3))
        ... point a client at aws.url, with aws.credentials("111111111111") ...
        assert aws.count("ListUsers") == 4

`python -m tests.fake_aws` serves generated accounts to load tests in other processes.
"""

from .accounts import Account, Role
from .fake import FakeAws
from .faults import Fault
from .ledger import LoggedCall
from .organizations import Member, Organization, Unit
from .report import CredentialReport
from .users import AccessKey, LastUse, Status, User

__all__ = [
    "AccessKey",
    "Account",
    "CredentialReport",
    "FakeAws",
    "Fault",
    "LastUse",
    "LoggedCall",
    "Member",
    "Organization",
    "Role",
    "Status",
    "Unit",
    "User",
]
