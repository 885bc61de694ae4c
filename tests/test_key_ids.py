"""How key ids are shown."""

from exporter.key_ids import KeyIdFormatter
from exporter.model import KeyIdFormat
from tests.facts import a_key

ID = "AKIAIOSFODNN7EXAMPLE"


def test_full_shows_all() -> None:
    """Full ids are AWS's."""
    assert KeyIdFormatter().label(ID) == ID


def test_masked_shows_both_ends() -> None:
    """Masked ids are the first and last four characters."""
    assert KeyIdFormatter(KeyIdFormat.MASKED).label(ID) == "AKIA****MPLE"


def test_hashes_depend_on_the_secret() -> None:
    """The same id hashes alike with one secret, and differently with another."""
    one, two = KeyIdFormatter(KeyIdFormat.HASHED, "one"), KeyIdFormatter(KeyIdFormat.HASHED, "two")

    assert one.label(ID) == one.label(ID) != two.label(ID)


def test_a_hash_shows_nothing_of_the_id() -> None:
    """A hashed id is sixteen hex digits."""
    assert len(bytes.fromhex(KeyIdFormatter(KeyIdFormat.HASHED, "s").label(ID))) == 8


def test_two_keys_that_look_the_same_get_distinct_labels() -> None:
    """Two ids of a user with the same ends get digits of their own."""
    keys = [a_key("AKIAAAAAAAAAAAAASAME"), a_key("AKIABBBBBBBBBBBBSAME")]

    labels = KeyIdFormatter(KeyIdFormat.MASKED).labels(keys)

    assert labels == {keys[0].id: "AKIA****SAME~0afc", keys[1].id: "AKIA****SAME~9c1e"}


def test_a_key_never_takes_over_the_label_of_its_twin() -> None:
    """When one of two that look the same is deleted, the other's label is nobody's before."""
    keys = [a_key("AKIAAAAAAAAAAAAASAME"), a_key("AKIABBBBBBBBBBBBSAME")]
    key_ids = KeyIdFormatter(KeyIdFormat.MASKED)

    before, after = key_ids.labels(keys), key_ids.labels(keys[1:])

    assert set(after.values()) & set(before.values()) == set()


def test_ids_within_text_are_shown_alike() -> None:
    """Texts show ids as labels do, whatever surrounds them."""
    text = f"access key {ID}, (ASIAQWERTYUIOPASDFGH) %3D{ID}%2F x_{ID}"

    redacted = KeyIdFormatter(KeyIdFormat.MASKED).redact(text)

    assert redacted == "access key AKIA****MPLE, (ASIA****DFGH) %3DAKIA****MPLE%2F x_AKIA****MPLE"


def test_other_words_stay() -> None:
    """What only looks a little like an id stays as it is."""
    text = "AKIA is a prefix, AKIASHORT is short"

    assert KeyIdFormatter(KeyIdFormat.MASKED).redact(text) == text
