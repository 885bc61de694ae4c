"""The keys of one account's users: which there are, and when each was last used."""

from dataclasses import replace

from exporter.aws import responses
from exporter.aws.api import AccountApi
from exporter.aws.errors import malformed
from exporter.aws.operations import Operation
from exporter.aws.progress import Progress
from exporter.aws.report_source import FreshReport
from exporter.model import (
    NEVER,
    AccessKey,
    AccountSnapshot,
    Clock,
    LastUse,
    ReadError,
    Reason,
    User,
    latest,
)


class KeyRefresh:
    """
    Refreshes keys, user by user.

    Args:
        before: The latest snapshot.
    """

    def __init__(
        self, api: AccountApi, progress: Progress, before: AccountSnapshot, clock: Clock
    ) -> None:
        self._api = api
        self._clock = clock
        self._listed_at_user: dict[str, str] = {}
        self._progress = progress
        self._before = before
        self._known = {key.id: key for key in before.keys}
        self._known_users = {user.name for user in before.users}

    def refresh(self, user: User) -> None:
        """
        Refresh the keys of *user*: first which there are, then their last uses.

        Raises:
            Aborted: See `AccountApi.call`.
        """
        progress = self._progress
        if user.name not in progress.to_list:
            progress.confirm_keys(user.name)
        elif not self._list_keys(user):
            return
        self._apply_report(user)
        asked: set[str] = set()
        listed: set[str] = set()
        # IAM answers AccessDenied for a deleted key. List again: a key that is still there was
        # really denied, and is asked for once more.
        while doubtful := self._refresh_last_uses(user, asked, listed):
            if not self._list_keys(user):
                return
            listed |= doubtful

    def _list_keys(self, user: User) -> bool:
        """
        List the keys of *user*, carrying over what is known of them.

        Returns:
            False if the user seems to be deleted.
        """
        operation, progress = Operation.LIST_ACCESS_KEYS, self._progress
        progress.to_list.add(user.name)
        if self._api.has_ended(operation):
            return True
        known = {key.id: key for key in progress.keys[user.name]}
        keys: dict[str, AccessKey] = {}
        failures = []
        try:
            for item in self._api.pages(operation, UserName=user.name):
                id_ = ""
                try:
                    id_ = responses.key_id(item)
                    before = known.get(id_) or self._known.get(id_)
                    key = responses.access_key(item, user.name, before, self._clock.now())
                    self._check_owner(key)
                    keys[id_] = key
                except ReadError as error:
                    self._api.count_malformed(operation)
                    failures.append(error)
                    # Keep what is known of this key; if it has no id, it may be any of them.
                    kept = {key.id: key for key in known.values() if id_ in ("", key.id)}
                    keys = {**kept, **keys}
        except ReadError as error:
            return not self._seems_deleted(user, error)
        progress.failures += failures
        progress.keys[user.name] = list(keys.values())
        if not failures:
            progress.to_list.discard(user.name)
            progress.users[user.name] = replace(
                progress.users[user.name], keys_at=progress.began, keys_as_of=progress.began
            )
        return True

    def _check_owner(self, key: AccessKey) -> None:
        """
        Make sure that no other user has this key.

        Raises:
            ReadError: It was listed as one of another user's.
        """
        if self._listed_at_user.setdefault(key.id, key.user) != key.user:
            raise malformed(Operation.LIST_ACCESS_KEYS, "a key is listed at two users")

    def _seems_deleted(self, user: User, error: ReadError) -> bool:
        """
        Whether the keys of *user* could not be listed because the user was deleted meanwhile.

        The next list of users will tell for sure. It is not for this answer to remove keys that may
        be in use, nor is it a failure, unless the user is still listed.
        """
        missing = error.code == "NoSuchEntity"
        if not missing or user.name in self._before.bookmarks.missing:
            self._api.count_denial(Operation.LIST_ACCESS_KEYS, error)
            self._progress.failures.append(error)
        if missing:
            self._progress.missing.add(user.name)
            self._forget_news_of(user)
        return missing

    def _forget_news_of(self, user: User) -> None:
        """Go back to what was known of *user* before this refresh."""
        users, keys = self._progress.users, self._progress.keys
        if user.name in self._known_users:
            keys[user.name] = [key for key in keys[user.name] if key.id in self._known]
        else:
            del users[user.name], keys[user.name]

    def _refresh_last_uses(self, user: User, asked: set[str], listed: set[str]) -> set[str]:
        """
        Ask for the last use of each key of *user* that is not fresh.

        Args:
            asked: Ids of the keys that were dealt with. Those that are now are added.
            listed: Ids of the keys that were listed again.

        Returns:
            Ids of the keys about which an answer contradicts the list of keys.
        """
        operation, keys = Operation.GET_ACCESS_KEY_LAST_USED, self._progress.keys[user.name]
        doubtful = set()
        for position, key in enumerate(keys):
            if key.id in asked or self._progress.is_fresh(key) or self._api.has_ended(operation):
                continue
            try:
                keys[position] = self._with_last_use(key)
            except ReadError as error:
                if key.id not in listed and _may_be_deleted(error, key):
                    doubtful.add(key.id)
                    continue
                self._api.count_denial(operation, error)
                self._progress.failures.append(error)
            else:
                if _is_active_again(key, keys[position]):
                    doubtful.add(key.id)
            asked.add(key.id)
        return doubtful

    def _with_last_use(self, key: AccessKey) -> AccessKey:
        operation = Operation.GET_ACCESS_KEY_LAST_USED
        result = self._api.call(operation, AccessKeyId=key.id)
        try:
            # Not the time at which the refresh began: a key may be used while it lasts.
            use = responses.last_use(result["AccessKeyLastUsed"], self._clock.now())
        except ReadError:
            self._api.count_malformed(operation)
            raise
        return replace(
            key,
            last_use=latest(key.last_use, use),
            as_of=self._progress.began,
            final=not key.active,
        )

    def _apply_report(self, user: User) -> None:
        """Add what a fresh report says about the keys of *user*."""
        progress = self._progress
        row = progress.row_for(user)
        if row is None or not isinstance(progress.report, FreshReport):
            return
        generated, keys = progress.report.generated, progress.keys[user.name]
        for position, key in enumerate(keys):
            slot = row.slot_for(key, keys)
            if slot is None or slot.active != key.active:
                continue
            if slot.last_use is NEVER and not progress.trusts_never(key):
                continue
            if isinstance(slot.last_use, LastUse) and slot.last_use.at > generated:
                continue  # malformed; asking for the key itself will tell
            use = latest(key.last_use, slot.last_use)
            keys[position] = replace(key, last_use=use, as_of=generated)


def _may_be_deleted(error: ReadError, key: AccessKey) -> bool:
    """
    Whether *error* can mean that *key* was deleted.

    AWS answers AccessDenied then, and names the key where a missing permission names the user.
    """
    denied = error.reason is Reason.ACCESS_DENIED and f"access key {key.id}" in str(error)
    return denied or error.code in ("NoSuchEntity", "ValidationError")


def _is_active_again(before: AccessKey, after: AccessKey) -> bool:
    """Whether a key that is inactive, as far as we know, was used since it was last read."""
    return before.final and not after.active and after.last_use != before.last_use
