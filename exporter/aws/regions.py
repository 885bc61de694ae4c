"""AWS's regions, as far as botocore knows them."""

from functools import lru_cache

import botocore.session

from exporter.model import Partition


@lru_cache(maxsize=1)
def _regions() -> dict[str, str]:
    """Return the id of each region's partition."""
    data = botocore.session.Session().get_component("data_loader").load_data("partitions")
    return {
        name: partition["id"] for partition in data["partitions"] for name in partition["regions"]
    }


def is_region(name: str) -> bool:
    """Whether AWS has a region of this name; False for one that is newer than botocore."""
    return name in _regions()


def partition_of(region: str) -> Partition | None:
    """Return the partition of *region*. None: botocore does not know it."""
    partition = _regions().get(region)
    return Partition(partition) if partition in tuple(Partition) else None
