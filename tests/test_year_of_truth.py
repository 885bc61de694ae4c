"""How right the alerts are over a year whose truth is known."""

import pytest

from tests.year_of_truth import Score, judge, table

EXACT = [
    "AwsIamAccessKeyUnused",
    "AwsIamAccessKeyNeverUsed",
    "AwsIamAccessKeyNotRotated",
    "AwsIamAccessKeySafeToDelete",
    "AwsIamAccessKeyInactiveNotDeleted",
    "AwsIamAccessKeyAwakened",
    "AwsIamAccessKeyFirstUse",
    "AwsIamRootUsed",
]

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Score]:
    scores = judge(tmp_path_factory.mktemp("year"))
    print("\n" + table(scores))
    return scores


@pytest.mark.parametrize("name", EXACT)
def test_alert_tells_all_that_happened_and_nothing_else(
    scores: dict[str, Score], name: str
) -> None:
    """What AWS keeps on record is told of every key it is true of, and of no other."""
    assert scores[name].true >= 10
    assert (scores[name].precision, scores[name].recall) == (1, 1)


@pytest.mark.parametrize("name", ["AwsIamAccessKeyNewRegion", "AwsIamAccessKeyNewService"])
def test_alert_tells_most_of_what_was_new(scores: dict[str, Score], name: str) -> None:
    """A use is missed if another followed before the next reading: AWS tells the latest only."""
    assert scores[name].precision >= 0.9
    assert scores[name].recall >= 0.85
