"""Precision and recall of the alerts over a simulated year."""

import pytest

from tests.year_of_truth import Score, evaluate, table

EXACT = [
    "AwsIamAccessKeyIdle",
    "AwsIamAccessKeyUnused",
    "AwsIamAccessKeyNeverUsed",
    "AwsIamAccessKeyRotationDue",
    "AwsIamAccessKeyNotRotated",
    "AwsIamAccessKeySafeToDelete",
    "AwsIamAccessKeyInactiveNotDeleted",
    "AwsIamAccessKeyAwakened",
    "AwsIamAccessKeyFirstUse",
    "AwsIamAccessKeyCreated",
    "AwsIamAccessKeyNewRegion",
    "AwsIamAccessKeyNewService",
    "AwsIamRootUsed",
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.xdist_group("year")]


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Score]:
    scores = evaluate(tmp_path_factory.mktemp("year"))
    print("\n" + table(scores))
    return scores


@pytest.mark.parametrize("name", EXACT)
def test_alert_fires_for_all_that_happened_and_nothing_else(
    scores: dict[str, Score], name: str
) -> None:
    """If AWS ever reported it, the alert fires for every key concerned, and for no other."""
    assert scores[name].true >= 10
    assert (scores[name].precision, scores[name].recall) == (1, 1)
