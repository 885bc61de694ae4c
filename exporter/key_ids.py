"""How access key ids are shown: whole, masked, or hashed; alike in labels, logs and pages."""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterable

from exporter.model import AccessKey, KeyIdFormat

KEY_ID = re.compile(r"A[KS]IA[A-Z0-9]{12,}")
"""A long-term or a temporary access key id, wherever it stands."""


class KeyIdFormatter:
    """
    Shows key ids.

    Args:
        secret: Key of the hashes, so that ids cannot be guessed. Only for `KeyIdFormat.HASHED`.
    """

    def __init__(self, show: KeyIdFormat = KeyIdFormat.FULL, secret: str = "") -> None:
        self._show = show
        self._secret = secret.encode()

    def label(self, id_: str) -> str:
        """KeyIdFormat one id."""
        if self._show is KeyIdFormat.MASKED:
            return f"{id_[:4]}****{id_[-4:]}"
        if self._show is KeyIdFormat.HASHED:
            return hmac.new(self._secret, id_.encode(), hashlib.sha256).hexdigest()[:16]
        return id_

    def labels(self, keys: Iterable[AccessKey]) -> dict[str, str]:
        """
        KeyIdFormat the ids of one user's *keys*, by id, each differently.

        Those that look the same when masked get some digits of their own.
        """
        labels = {key.id: self.label(key.id) for key in keys}
        counts = Counter(labels.values())
        return {
            id_: label if counts[label] == 1 else f"{label}~{_digits(id_)}"
            for id_, label in labels.items()
        }

    def redact(self, text: str) -> str:
        """KeyIdFormat every id within *text* as `label` does."""
        if self._show is KeyIdFormat.FULL:
            return text
        return KEY_ID.sub(lambda found: self.label(found.group()), text)


def _digits(id_: str) -> str:
    return hashlib.sha256(id_.encode()).hexdigest()[:4]
