"""Labels that must not change, collide, or show a key id."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from exporter.key_ids import KeyIdFormatter
from exporter.metrics import RenderOptions
from exporter.model import AccountSnapshot, KeyIdFormat, LastUse, ReadError, Reason
from tests.exposition import a_store, render
from tests.facts import NOON, a_key, a_snapshot, a_user, an_account

UNIDENTIFIED = an_account("", "")
MASKED = KeyIdFormatter(KeyIdFormat.MASKED)
OPTIONS = RenderOptions(
    passwords=True, key_labels=MASKED.labels, user_names=MASKED.names, redact=MASKED.redact
)


def series_about_accounts(text: str) -> list[tuple[str, dict[str, str]]]:
    return [
        (sample.name, sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "account" in sample.labels
    ]


def test_an_account_of_unknown_id_has_one_series() -> None:
    """Until AWS has reported an account's ID, only account_up is exported about it."""
    failed = AccountSnapshot(UNIDENTIFIED).failed(ReadError(Reason.CREDENTIALS, "none"))
    named = an_account("", "prod")

    text = render(a_store(failed, AccountSnapshot(named)))

    assert series_about_accounts(text) == [
        ("aws_iam_exporter_account_up", {"account_id": "", "account": "default"}),
        ("aws_iam_exporter_account_up", {"account_id": "", "account": "prod"}),
    ]


def test_an_identified_account_has_no_series_of_before() -> None:
    """When the ID is known, every series has it, and that of before is gone."""
    store = a_store(AccountSnapshot(UNIDENTIFIED))

    store.publish(UNIDENTIFIED, a_snapshot(a_key(), account=an_account("111111111111", "")))

    labels = [labels for _, labels in series_about_accounts(render(store))]
    assert {(each["account_id"], each["account"]) for each in labels} == {("111111111111",) * 2}


def test_users_that_look_the_same_stay_different() -> None:
    """Key IDs in user and account names and in paths are formatted; no two series are the same."""
    names = ["ci-AKIAAAAAAAAAAAAASAME", "ci-akiabbbbbbbbbbbbsame"]
    path = "/AkIaCcCcCcCcCcCcCcCc/"
    snapshot = a_snapshot(
        *(a_key(f"AKIA{n * 12}SAME", user=name) for n, name in zip("XY", names, strict=True))
    )
    users = tuple(
        replace(user, path=path, password_last_used=user.created) for user in snapshot.users
    )
    account = an_account("111111111111", names[0])

    text = render(a_store(replace(snapshot, users=users, account=account), options=OPTIONS))

    series = [str(each) for each in series_about_accounts(text)]
    assert len(series) == len(set(series))
    assert "path='/AKIA****CCCC/'" in text.replace('"', "'")
    assert 'account="ci-AKIA****SAME"' in text
    assert [name for name in (*names, path) if name in text] == []


def test_users_without_key_ids_keep_their_names() -> None:
    """A name without a key ID is exported as it is, whatever the format."""
    snapshot = a_snapshot(a_key(user="alice"))

    assert a_user("alice") in snapshot.users
    assert 'user="alice"' in render(a_store(snapshot, options=OPTIONS))


def test_key_ids_in_services_and_regions_are_formatted() -> None:
    """Whatever AWS says a key was used for, no key ID is shown in full."""
    use = LastUse(NOON, "akiaiosfodnn7example", "AKIAIOSFODNN7EXAMPLE")

    text = render(a_store(a_snapshot(a_key(last_use=use)), options=OPTIONS))

    assert "aws_iam_access_key_last_used_age_seconds{" in text
    assert "akiaiosfodnn7example" not in text.lower()
