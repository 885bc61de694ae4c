"""Access key ids: how they are shown, and which tag holds a key's description."""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterable

from exporter.model import AccessKey, KeyIdFormat, User

KEY_ID = re.compile(r"A[KS]IA[A-Z0-9]{12,}")
"""The id of a long-term or temporary access key, as AWS spells it."""

KEY_ID_IN_TEXT = re.compile(KEY_ID.pattern, re.IGNORECASE)
"""The same anywhere in a text, where people may have written it in lower case."""


class KeyIdFormatter:
    """
    Formats key ids in full, masked or hashed: the same way in labels, logs and pages.

    Args:
        secret: The key of the hashes, so that ids cannot be guessed from them. Only for
            `KeyIdFormat.HASHED`.
    """

    def __init__(self, format_: KeyIdFormat = KeyIdFormat.FULL, secret: str = "") -> None:
        self._format = format_
        self._secret = secret.encode()

    def label(self, id_: str) -> str:
        """Format one id."""
        if self._format is KeyIdFormat.MASKED:
            return f"{id_[:4]}****{id_[-4:]}"
        if self._format is KeyIdFormat.HASHED:
            return hmac.new(self._secret, id_.encode(), hashlib.sha256).hexdigest()[:16]
        return id_

    def labels(self, keys: Iterable[AccessKey]) -> dict[str, str]:
        """
        Format the ids of one user's *keys*. Returns labels by id; no two are the same.

        Ids that look the same when masked are distinguished by some digits of their hashes.
        """
        labels = {key.id: self.label(key.id) for key in keys}
        if len(labels) == 1:
            return labels
        counts = Counter(labels.values())
        return {
            id_: label if counts[label] == 1 else f"{label}~{_digits(id_)}"
            for id_, label in labels.items()
        }

    def redact(self, text: str) -> str:
        """Format every id within *text*, whatever its case."""
        if self._format is KeyIdFormat.FULL:
            return text
        return KEY_ID_IN_TEXT.sub(lambda match: self.label(match.group().upper()), text)

    def names(self, names: Iterable[str]) -> dict[str, str]:
        """
        Format the ids within the *names* of one account's users. No two results are the same.

        Returns only those that differ from the name.
        """
        if self._format is KeyIdFormat.FULL:
            return {}
        shown = {name: self.redact(name) for name in names}
        counts = Counter(shown.values())
        return {
            name: text if counts[text] == 1 else f"{text}~{_digits(name, 8)}"
            for name, text in shown.items()
            if text != name
        }


def _digits(id_: str, count: int = 4) -> str:
    return hashlib.sha256(id_.encode()).hexdigest()[:count]


# The AWS console stores the description of a key in a tag of its user, named by the key's id.


def is_description_tag(name: str) -> bool:
    """Tell whether a user tag of this name holds the description of a key."""
    return KEY_ID.fullmatch(name) is not None


def description_of(user: User, key: AccessKey) -> str:
    """Return the description of *key*, a key of *user*. Empty: it has none."""
    return dict(user.tags).get(key.id, "")
