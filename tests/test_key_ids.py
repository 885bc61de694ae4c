"""How access key ids are shown, and where descriptions are found."""

import pytest

from exporter.key_ids import KeyIdFormatter, description_of, is_description_tag
from exporter.model import KeyIdFormat
from tests.facts import a_key, a_user

ID = "AKIAIOSFODNN7EXAMPLE"


def test_full_ids_are_unchanged() -> None:
    """In full format an id is shown as AWS spells it."""
    assert KeyIdFormatter().label(ID) == ID


def test_masked_ids_keep_both_ends() -> None:
    """A masked id consists of its first and last four characters."""
    assert KeyIdFormatter(KeyIdFormat.MASKED).label(ID) == "AKIA****MPLE"


def test_hashes_depend_on_the_secret() -> None:
    """An id always has the same hash with one secret, and a different one with another."""
    one, two = KeyIdFormatter(KeyIdFormat.HASHED, "one"), KeyIdFormatter(KeyIdFormat.HASHED, "two")

    assert one.label(ID) == one.label(ID) != two.label(ID)


def test_a_hash_contains_nothing_of_the_id() -> None:
    """A hashed id is sixteen hexadecimal digits."""
    assert len(bytes.fromhex(KeyIdFormatter(KeyIdFormat.HASHED, "s").label(ID))) == 8


def test_ids_that_look_the_same_get_distinct_labels() -> None:
    """Two masked ids of one user with the same ends are distinguished by some digits."""
    keys = [a_key("AKIAAAAAAAAAAAAASAME"), a_key("AKIABBBBBBBBBBBBSAME")]

    labels = KeyIdFormatter(KeyIdFormat.MASKED).labels(keys)

    assert labels == {keys[0].id: "AKIA****SAME~0afc", keys[1].id: "AKIA****SAME~9c1e"}


def test_a_label_never_moves_to_another_key() -> None:
    """If one of two keys that look the same is deleted, the other gets a label of neither."""
    keys = [a_key("AKIAAAAAAAAAAAAASAME"), a_key("AKIABBBBBBBBBBBBSAME")]
    key_ids = KeyIdFormatter(KeyIdFormat.MASKED)

    before, after = key_ids.labels(keys), key_ids.labels(keys[1:])

    assert set(after.values()) & set(before.values()) == set()


def test_ids_within_text_are_redacted() -> None:
    """Ids within a text are formatted like labels, whatever surrounds them."""
    text = f"access key {ID}, (ASIAQWERTYUIOPASDFGH) %3D{ID}%2F x_{ID}"

    redacted = KeyIdFormatter(KeyIdFormat.MASKED).redact(text)

    assert redacted == "access key AKIA****MPLE, (ASIA****DFGH) %3DAKIA****MPLE%2F x_AKIA****MPLE"


@pytest.mark.parametrize("text", [ID.lower(), ID.title(), "aKiA" + ID[4:].lower()])
def test_ids_are_redacted_whatever_their_case(text: str) -> None:
    """An id that people wrote in another case is formatted like the id."""
    masked, hashed = KeyIdFormatter(KeyIdFormat.MASKED), KeyIdFormatter(KeyIdFormat.HASHED, "s")

    assert masked.redact(f"ci-{text}") == "ci-AKIA****MPLE"
    assert hashed.redact(f"ci-{text}") == f"ci-{hashed.label(ID)}"


def test_names_that_look_the_same_stay_different() -> None:
    """Users whose names differ only within a key id have different labels; others keep theirs."""
    names = [
        "ci-AKIAAAAAAAAAAAAASAME",
        "ci-akiabbbbbbbbbbbbsame",
        "x-AKIACCCCCCCCCCCCSAME",
        "alice",
    ]

    labels = KeyIdFormatter(KeyIdFormat.MASKED).names(names)

    assert len(set(labels.values())) == 3
    assert labels["x-AKIACCCCCCCCCCCCSAME"] == "x-AKIA****SAME"
    assert all(label.startswith(("ci-AKIA****SAME~", "x-")) for label in labels.values())
    assert KeyIdFormatter().names(names) == {}


def test_other_words_are_unchanged() -> None:
    """A word that is too short for an id is not redacted."""
    text = "AKIA is a prefix, AKIASHORT is short"

    assert KeyIdFormatter(KeyIdFormat.MASKED).redact(text) == text


@pytest.mark.parametrize(("name", "expected"), [(ID, True), (f"{ID}-note", False), ("team", False)])
def test_description_tags_are_named_by_a_key_id(name: str, expected: bool) -> None:
    """A tag holds a description if its name is exactly a key id."""
    assert is_description_tag(name) is expected


@pytest.mark.parametrize(("id_", "expected"), [(ID, "for CI"), ("AKIAANOTHERANOTHER12", "")])
def test_the_description_of_a_key_is_in_its_own_tag(id_: str, expected: str) -> None:
    """A key's description is the value of the tag named by its id, empty without one."""
    user = a_user(tags=((ID, "for CI"), ("team", "web")))

    assert description_of(user, a_key(id_)) == expected
