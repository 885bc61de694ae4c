"""What tests use: one simulated AWS, with its state, its faults and its counts."""

from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from .accounts import Account, Now, Role, World
from .answers import Answers, Callback
from .faults import Fault
from .identity import Caller
from .ledger import LoggedCall
from .organizations import Organization
from .server import Server


class FakeAws:
    """
    IAM, STS and Organizations at one endpoint, served inside a `with` block.

    State may be changed at any time, from any thread.

    Args:
        now: Returns AWS's current time, aware. By default the system's.
        port: 0: any free port.
        log_size: The number of latest calls that `log` keeps.
    """

    def __init__(self, now: Now | None = None, *, port: int = 0, log_size: int = 10_000) -> None:
        self._world = World(now)
        self._answers = Answers(self._world, log_size=log_size)
        self._port = port
        self._server: Server | None = None

    def __enter__(self) -> Self:
        self._server = Server(self._answers, port=self._port)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if self.bugs and error is None:
            msg = f"{len(self.bugs)} bugs here or in callbacks; the first:\n{self.bugs[0]}"
            raise AssertionError(msg)

    def close(self) -> None:
        """Stop serving; state and counts stay readable."""
        if self._server is not None:
            self._server.close()

    @property
    def url(self) -> str:
        if self._server is None:
            raise RuntimeError("it serves only inside its with block")
        return self._server.url

    @property
    def bugs(self) -> list[str]:
        """Tracebacks of unexpected exceptions; the end of the `with` block raises them."""
        return self._answers.bugs

    # -- state -----------------------------------------------------------------------------------

    def account(self, id: str, partition: str | None = None) -> Account:
        """Find or create an account, in partition "aws" by default."""
        return self._world.account(id, partition=partition)

    @property
    def accounts(self) -> dict[str, Account]:
        return self._world.accounts

    def credentials(self, account_id: str) -> tuple[str, str]:
        """
        Static credentials of a principal in an account, always the same.

        Returns:
            The access key id and the secret.
        """
        caller = self._answers.credentials.base(self.account(account_id))
        return caller.key_id, caller.secret

    def environment(self, account_id: str) -> dict[str, str]:
        """Environment variables with which an AWS client calls from an account."""
        key_id, secret = self.credentials(account_id)
        return {
            "AWS_ACCESS_KEY_ID": key_id,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.url,
            "NO_PROXY": "127.0.0.1",
        }

    def session(self, role: Role, name: str = "session", *, tagged: bool = False) -> Caller:
        """
        Create a session of a role, as another way to assume it than AssumeRole does.

        Args:
            tagged: With transitive tags, as those of EKS Pod Identity.
        """
        return self._answers.credentials.session(role, name, seconds=86400, tagged=tagged)

    def revoke(self, account_id: str) -> None:
        """End all sessions in an account: from now on their calls fail with ExpiredToken."""
        self._answers.credentials.revoke(account_id)

    def forget_credentials(self, key_id: str) -> None:
        """Delete the key of a principal: from now on its calls fail with InvalidClientTokenId."""
        self._answers.credentials.forget(key_id)

    def organization(self, management: str | None = None) -> Organization:
        """Find the organization, or create it with a management account."""
        organization = self._answers.organization
        if organization is None:
            if management is None:
                raise ValueError("there is no organization yet: name its management account")
            account = self.account(management)
            organization = self._answers.organization = Organization(
                management, partition=account.partition, joined=account.created
            )
        elif management not in (None, organization.management):
            msg = f"the management account is {organization.management}, not {management}"
            raise ValueError(msg)
        return organization

    # -- faults ----------------------------------------------------------------------------------

    def fault(self, fault: Fault) -> Fault:
        """Add a fault."""
        self._answers.faults.add(fault)
        return fault

    def remove_fault(self, fault: Fault) -> None:
        self._answers.faults.remove(fault)

    def clear_faults(self) -> None:
        self._answers.faults.clear()

    @property
    def max_page(self) -> int:
        """The largest page that IAM serves, even if MaxItems allows more."""
        return self._answers.at_most

    @max_page.setter
    def max_page(self, size: int) -> None:
        if size < 1:
            msg = f"the largest page must be at least 1: {size}"
            raise ValueError(msg)
        self._answers.at_most = size

    # -- calls -----------------------------------------------------------------------------------

    def on_call(self, callback: Callback) -> Callable[[], None]:
        """
        Call *callback* with operation, account id and parameters before each call is answered.

        Callbacks run in several threads at once. One that blocks delays only the call that it was
        called for. Exceptions are added to `bugs`.

        Returns:
            A function that removes the callback.
        """
        self._answers.callbacks = (*self._answers.callbacks, callback)

        def remove() -> None:
            self._answers.callbacks = tuple(
                each for each in self._answers.callbacks if each is not callback
            )

        return remove

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        """
        The number of calls by account id and operation, including failed ones; a copy.

        AssumeRole is counted for the account of the role, everything else for the caller's; calls
        of unknown callers are counted for "".
        """
        return self._answers.ledger.calls

    @property
    def calls_by_operation(self) -> Counter[str]:
        """The number of calls of all accounts, by operation."""
        return self._answers.ledger.calls_by_operation

    @property
    def errors(self) -> Counter[tuple[str, str, str]]:
        """The number of errors by account id, operation and code, or "reset"; a copy."""
        return self._answers.ledger.errors

    @property
    def log(self) -> list[LoggedCall]:
        """The latest calls, oldest first; a copy."""
        return self._answers.ledger.log

    def count(self, operation: str | None = None, account: str | None = None) -> int:
        """Count calls: all, or those of an operation or an account, or both."""
        return self._answers.ledger.count(operation, account)

    def reset_calls(self) -> None:
        """Reset counts and log."""
        self._answers.ledger.clear()
