"""A Prometheus with data, queried as Grafana does."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from tests.servers import get


class Client:
    """
    Queries to Prometheus.

    Attributes:
        end: Unix time of instant queries, and where the time range ends.
    """

    def __init__(self, address: str, end: float) -> None:
        self.address = address
        self.end = end

    def query(
        self, expr: str, *, instant: bool = True, seconds: float = 3600, step: int = 60
    ) -> Any:
        """
        The series that *expr* evaluates to.

        Args:
            seconds: The length of the time range, if not *instant*.

        Raises:
            AssertionError: Prometheus rejected the query.
        """
        if instant:
            return self._post("query", query=expr, time=self.end)
        return self._post(
            "query_range", query=expr, start=self.end - seconds, end=self.end, step=step
        )

    def value(self, expr: str) -> float:
        """The value of the only series."""
        (series,) = self.query(expr)
        return float(series["value"][1])

    def variable_values(self, query: str) -> list[str]:
        """The values of a dashboard's variable."""
        inner = re.fullmatch(r"query_result\((.*)\)", query)
        if inner:
            return [json.dumps(series["metric"]) for series in self.query(inner[1])]
        hit = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
        assert hit, query
        match = urllib.parse.urlencode(
            {"match[]": hit[1], "start": self.end - 3600, "end": self.end}
        )
        url = f"http://{self.address}/api/v1/label/{hit[2]}/values?{match}"
        return list(json.loads(get(url))["data"])

    def _post(self, path: str, **fields: object) -> Any:
        data = urllib.parse.urlencode(fields).encode()
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}", data) as response:
                return json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{fields['query']}: {error.read().decode()}") from error
