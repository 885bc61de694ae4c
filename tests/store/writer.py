"""Saves accounts until it is killed: `python -m tests.store.writer FILE`."""

import sys
from datetime import timedelta
from pathlib import Path

from exporter.model import Account, AccountMemory, SeenUse
from exporter.store import Store
from tests.builders import NOON, FakeClock, a_key, a_snapshot, a_user
from tests.store.values import a_key_memory, an_event, remembering

ACCOUNTS = [f"{number:012}" for number in range(3)]

KEYS = 50


def memory_of(account_id: str, revision: int) -> AccountMemory:
    """Return what is saved of an account as *revision*."""
    at = NOON + timedelta(seconds=revision)
    event = an_event(f"AKIA{account_id}", occurrence=str(revision), at=at)
    keys = [
        a_key_memory(
            key=a_key(f"AKIA{account_id}{number}", as_of=at),
            uses=(SeenUse("s3", "eu-west-1", NOON, at),),
        )
        for number in range(revision % KEYS)
    ]
    return AccountMemory(
        users={"AIDAALICE": a_user(id="AIDAALICE", keys_at=at)},
        users_as_of=at,
        keys={memory.key.id: memory for memory in keys},
        events=(event,),
    )


def a_store(path: Path) -> Store:
    return Store(
        path,
        keep_events=timedelta(days=400),
        shown_for=timedelta(days=1),
        clock=FakeClock(),
    )


def main() -> None:
    """Print the account and revision of each save after it."""
    store = a_store(Path(sys.argv[1]))
    revisions = dict.fromkeys(ACCOUNTS, 0)
    revisions |= {one.snapshot.account.id: one.revision for one in store.load()}
    print("loaded", flush=True)
    while True:
        for account_id in ACCOUNTS:
            memory = memory_of(account_id, revisions[account_id] + 1)
            snapshot = a_snapshot(account=Account(account_id, "prod"))
            saved = store.save(snapshot, revisions[account_id], remembering(memory, memory.events))
            revisions[account_id] = saved.revision
            print(account_id, saved.revision, flush=True)


if __name__ == "__main__":
    main()
