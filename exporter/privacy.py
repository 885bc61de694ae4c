"""How access key ids are shown: whole, masked, or hashed; alike in labels, logs and pages."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from enum import StrEnum

from exporter.model import AccessKey

KEY_ID = re.compile(r"\bA[KS]IA[A-Z0-9]{12,}\b")
"""A long-term or a temporary access key id, wherever it stands."""


class Show(StrEnum):
    FULL = "full"
    MASKED = "masked"
    HASHED = "hashed"


class Privacy:
    """
    Shows key ids.

    Args:
        secret: Keys the hashes, so that nobody finds an id by trying. For `Show.HASHED` only.
    """

    def __init__(self, show: Show = Show.FULL, secret: str = "") -> None:
        self._show = show
        self._secret = secret.encode()

    def label(self, id_: str) -> str:
        """Show one id."""
        if self._show is Show.MASKED:
            return f"{id_[:4]}****{id_[-4:]}"
        if self._show is Show.HASHED:
            return hmac.new(self._secret, id_.encode(), hashlib.sha256).hexdigest()[:16]
        return id_

    def labels(self, keys: Iterable[AccessKey]) -> dict[str, str]:
        """
        Show the ids of one user's *keys*, by id, each differently.

        Where two look the same when masked, the later made one gets a number.
        """
        labels: dict[str, str] = {}
        taken: dict[str, int] = {}
        for key in sorted(keys, key=lambda key: (key.created, key.id)):
            label = self.label(key.id)
            taken[label] = taken.get(label, 0) + 1
            labels[key.id] = label if taken[label] == 1 else f"{label}~{taken[label]}"
        return labels

    def redact(self, text: str) -> str:
        """Show every id within *text* as `label` does."""
        if self._show is Show.FULL:
            return text
        return KEY_ID.sub(lambda found: self.label(found.group()), text)
