"""What a panel says in words, given Prometheus's answers to its queries."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.grafana.boards import interpolate
from tests.grafana.live import Client

Json = dict[str, Any]


def reading(client: Client, board: str, panel: Json, selected: Mapping[str, str]) -> list[str]:
    """The texts that *panel* shows now: its values, the rows of its table, or that it has none."""
    answers = [
        (target, series)
        for target in panel["targets"]
        for series in client.query(interpolate(target["expr"], board, selected))
    ]
    texts = _rows(panel, answers) if panel["type"] == "table" else _values(panel, answers)
    return texts or [panel["fieldConfig"]["defaults"]["noValue"]]


def _values(panel: Json, answers: list[tuple[Json, Json]]) -> list[str]:
    texts = []
    for target, series in answers:
        legend = _legend(target["legendFormat"], series["metric"])
        value = _mapped(series["value"][1], [*_mappings(panel, legend)])
        texts.append(value if legend == "__auto" else f"{legend}: {value}")
    return texts


def _legend(template: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda hit: labels.get(hit[1], ""), template)


def _rows(panel: Json, answers: list[tuple[Json, Json]]) -> list[str]:
    """Each row: the labels and values that are shown, in any order."""
    organize = panel["transformations"][-1]["options"]
    dropped, titles = organize["excludeByName"], organize["renameByName"]
    shown = organize["indexByName"]
    rows: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for target, series in answers:
        metric = series["metric"]
        labels = {name: metric[name] for name in metric if name != "__name__"}
        texts = rows.setdefault(tuple(sorted(labels.items())), [])
        if not texts:
            texts += [text for name, text in labels.items() if name in shown and text]
        for field in ("Value", f"Value #{target['refId']}"):
            if field in shown and field not in dropped:
                mappings = [*_mappings(panel, titles.get(field, field))]
                texts.append(_mapped(series["value"][1], mappings))
    said = [", ".join(texts) for texts in rows.values() if texts]
    return said + _missing(panel, answers, titles) if said else []


def _missing(panel: Json, answers: list[tuple[Json, Json]], titles: Mapping[str, str]) -> list[str]:
    """What the cells of those columns say that have fewer values than others."""
    refs = [target["refId"] for target, _ in answers]
    fewer = {
        ref
        for ref in titles
        if refs.count(ref.removeprefix("Value #")) < max(refs.count(other) for other in refs)
    }
    return [
        f"{titles[field]}: {each['value']}"
        for field in titles
        if field in fewer and field.startswith("Value #")
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["options"] == titles[field]
        for each in override["properties"]
        if each["id"] == "noValue" and each["value"]
    ]


def _mappings(panel: Json, name: str) -> Iterator[Json]:
    config = panel["fieldConfig"]
    for override in config["overrides"]:
        if override["matcher"]["options"] == name:
            for each in override["properties"]:
                if each["id"] == "mappings":
                    yield from each["value"]
    yield from config["defaults"].get("mappings", ())


def _mapped(value: str, mappings: list[Json]) -> str:
    number = float(value)
    for mapping in mappings:
        options = mapping["options"]
        if mapping["type"] == "range" and options["from"] <= number <= options["to"]:
            return str(options["result"]["text"])
        if mapping["type"] == "value" and f"{number:g}" in options:
            return str(options[f"{number:g}"]["text"])
    return f"{number:g}"
