"""
What changed in an account between two refreshes, and what to remember to recognise the next change.

Pure functions over values of the model. A key is identified by its id, and its user by IAM's unique
id, so that renaming a user changes nothing. Only what is proven becomes an event: a list that was
not read says nothing about keys, and time in which nobody looked is not idle time.
"""

from exporter.memory.comparison import Options, recent, remember
from exporter.memory.merge import merge

__all__ = ["Options", "merge", "recent", "remember"]
