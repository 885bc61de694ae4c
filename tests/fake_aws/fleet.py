"""Generated accounts, for load tests."""

import random
from datetime import timedelta
from typing import Final

from .fake import FakeAws

MONITORING: Final = "999999999999"
ROLE: Final = "aws-iam-key-exporter"
USES: Final = (("s3", "eu-west-1"), ("ec2", "us-east-1"), ("iam", "us-east-1"), ("s3", "N/A"))


def fill(
    aws: FakeAws,
    *,
    accounts: int,
    keys: int,
    keys_per_user: int = 1,
    external_id: str | None = None,
    seed: int = 1,
) -> None:
    """
    Create *accounts* accounts with *keys* keys each, all of them in an organization.

    One key in ten is inactive, one in ten was never used, the others were used within the last 400
    days. The management account, 999999999999, is the one to call from; it has the role too, but no
    users.
    """
    rng = random.Random(seed)
    organization = aws.organization(MONITORING)
    aws.account(MONITORING).role(ROLE, external_id)
    for number in range(1, accounts + 1):
        account = aws.account(f"{100_000_000_000 + number}")
        account.role(ROLE, external_id)
        organization.add_account(account.id, name=f"account-{number:04}")
        now = account.created
        for index in range(keys):
            if index % keys_per_user == 0:
                created = now - timedelta(days=rng.randrange(401, 2000))
                user = account.add_user(f"user-{index // keys_per_user:04}", created=created)
            key = user.add_key(created=user.created + timedelta(minutes=index % keys_per_user))
            if rng.random() < 0.1:
                key.status = "Inactive"
            if rng.random() < 0.9:
                used = now - timedelta(minutes=rng.randrange(400 * 24 * 60))
                key.use(*rng.choice(USES), at=used)
