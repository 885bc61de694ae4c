"""AWS's regions, as far as botocore knows them."""

from functools import lru_cache

import botocore.session


@lru_cache(maxsize=1)
def _regions() -> frozenset[str]:
    data = botocore.session.Session().get_component("data_loader").load_data("partitions")
    return frozenset(name for partition in data["partitions"] for name in partition["regions"])


def is_region(name: str) -> bool:
    """Whether AWS has a region of this name; False for one that is newer than botocore."""
    return name in _regions()
