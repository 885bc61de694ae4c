"""
Whose credentials sign a call: from access key id to caller.

Signatures are not checked, but session tokens have to belong to the key id.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from .accounts import Account, Role, World
from .refusal import Refusal
from .users import Root


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who makes a call.

    Attributes:
        account: The caller's account, which its IAM calls are about.
        role: The assumed role. None: a user.
        token: The session token. None for a user's own credentials.
        expires: None: never.
        tagged: The session has transitive tags, which go along to every role that it assumes.
    """

    key_id: str
    secret: str
    account: Account
    arn: str
    user_id: str
    role: Role | None = None
    token: str | None = None
    expires: datetime | None = None
    tagged: bool = False


class Credentials:
    """All credentials that were issued."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._callers: dict[str, Caller] = {}
        self._bases: dict[str, Caller] = {}
        self._revoked: set[str] = set()

    def base(self, account: Account) -> Caller:
        """
        Find or create the static credentials of a principal in *account*.

        It is a user, but not among the users of the account: those belong to the test.
        """
        with self._world.lock:
            caller = self._bases.get(account.id)
            if caller is None:
                caller = Caller(
                    key_id=self._world.new_id("AKIA"),
                    secret=self._world.new_id("secret/"),
                    account=account,
                    arn=f"arn:{account.partition}:iam::{account.id}:user/monitoring",
                    user_id=self._world.new_id("AIDA"),
                )
                self._bases[account.id] = self._callers[caller.key_id] = caller
            return caller

    def session(self, role: Role, name: str, *, seconds: int, tagged: bool = False) -> Caller:
        """Create a session of *role*."""
        account = role.account
        caller = Caller(
            key_id=self._world.new_id("ASIA"),
            secret=self._world.new_id("secret/"),
            account=account,
            arn=f"arn:{account.partition}:sts::{account.id}:assumed-role/{role.name}/{name}",
            user_id=f"{role.id}:{name}",
            role=role,
            token=self._world.new_id("token/"),
            expires=self._world.now() + timedelta(seconds=seconds),
            tagged=tagged,
        )
        with self._world.lock:
            self._callers[caller.key_id] = caller
        return caller

    def revoke(self, account_id: str) -> None:
        """End all sessions in an account."""
        with self._world.lock:
            self._revoked |= {
                caller.key_id
                for caller in self._callers.values()
                if caller.role is not None and caller.account.id == account_id
            }

    def forget(self, key_id: str) -> None:
        """Delete credentials."""
        with self._world.lock:
            del self._callers[key_id]

    def caller(self, key_id: str, token: str | None, *, service: str, region: str) -> Caller:
        """
        Find who signs with *key_id*, even if the session has ended.

        Keys that a test created can sign too, which counts as a use.

        Raises:
            Refusal: The key id is unknown or inactive, or the token does not belong to it.
        """
        caller = self._callers.get(key_id)
        if caller is not None:
            if caller.token != token:
                raise Refusal("InvalidClientTokenId")
            return caller
        key = self._world.keys.get(key_id)
        if key is None or not key.active or token is not None:
            raise Refusal("InvalidClientTokenId")
        key.sign(service, region)
        user = key.user
        user_id = user.account.id if isinstance(user, Root) else user.id
        return Caller(key_id, "", user.account, user.arn, user_id)

    def has_ended(self, caller: Caller) -> bool:
        """Whether a session has expired or was revoked."""
        if caller.expires is None:
            return False
        return caller.key_id in self._revoked or self._world.now() >= caller.expires
