"""How key ids are shown."""

from exporter.privacy import Privacy, Show
from tests.facts import a_key, days_ago

ID = "AKIAIOSFODNN7EXAMPLE"


def test_full_shows_all() -> None:
    """Full ids are AWS's."""
    assert Privacy().label(ID) == ID


def test_masked_shows_both_ends() -> None:
    """Masked ids are the first and last four characters."""
    assert Privacy(Show.MASKED).label(ID) == "AKIA****MPLE"


def test_hashes_depend_on_the_secret() -> None:
    """The same id hashes alike with one secret, and differently with another."""
    one, two = Privacy(Show.HASHED, "one"), Privacy(Show.HASHED, "two")

    assert one.label(ID) == one.label(ID) != two.label(ID)


def test_a_hash_shows_nothing_of_the_id() -> None:
    """A hashed id is sixteen hex digits."""
    assert len(bytes.fromhex(Privacy(Show.HASHED, "s").label(ID))) == 8


def test_two_keys_that_look_the_same_get_distinct_labels() -> None:
    """Of two ids of a user with the same ends the later made one gets a number."""
    older = a_key("AKIAAAAAAAAAAAAASAME", created=days_ago(2))
    newer = a_key("AKIABBBBBBBBBBBBSAME", created=days_ago(1))

    labels = Privacy(Show.MASKED).labels([newer, older])

    assert labels == {older.id: "AKIA****SAME", newer.id: "AKIA****SAME~2"}


def test_ids_within_text_are_shown_alike() -> None:
    """Texts show ids as labels do, whatever surrounds them."""
    text = f"on resource: access key {ID}, (ASIAQWERTYUIOPASDFGH)"

    redacted = Privacy(Show.MASKED).redact(text)

    assert redacted == "on resource: access key AKIA****MPLE, (ASIA****DFGH)"


def test_other_words_stay() -> None:
    """What only looks a little like an id stays as it is."""
    text = "AKIA is a prefix, AKIASHORT is short"

    assert Privacy(Show.MASKED).redact(text) == text
