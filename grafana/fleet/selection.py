"""What the panels are about: the chosen accounts and teams."""

from grafana import queries as q

HERE = q.FLEET


def here(family: str, *matchers: str) -> str:
    """The sum of counts of the chosen accounts and teams."""
    return q.total(family, HERE, q.TEAM, *matchers)
