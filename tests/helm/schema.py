"""
The JSON schema of the chart's values.

Types are those of the defaults, descriptions are the comments. What a default does not say is in
DETAILS.
"""

from typing import Any, Final

from exporter.cli.logs import LEVELS
from exporter.config import Config
from tests.helm.values import Value

Schema = dict[str, Any]

INTERVAL: Final = r"^([0-9]+(\.[0-9]+)?[smhdw])+$"
"""A duration of the exporter."""

UNITS: Final = ("y", "w", "d", "h", "m", "s", "ms")
DURATION: Final = "^(0|" + "".join(f"([0-9]+{unit})?" for unit in UNITS) + ")$"
"""A duration of Prometheus. It can be empty."""

GO_DURATION: Final = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"

QUANTITY: Final = {"type": ["string", "number"]}
STRINGS: Final = {"type": "array", "items": {"type": "string", "minLength": 1}}
OBJECTS: Final = {"type": "array", "items": {"type": "object"}}
TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
"""Labels and annotations: numbers and booleans need quotes."""
NAMES: Final = {
    "type": "array",
    "items": {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "object", "required": ["name"], "additionalProperties": {"type": "string"}},
        ]
    },
}
VISIBLE: Final = '[!-"$->@-~]'
"""Characters of paths and URLs: visible ones of ASCII, without # and ?."""

LIMIT: Final = {"type": "integer", "minimum": 0}
PODS: Final = {"type": ["integer", "string", "null"], "minimum": 0, "pattern": "^[0-9]+%$"}

SECTIONS: Final = "|".join(sorted(Config.model_fields))

CONFIG: Final[Schema] = {
    "patternProperties": {
        "^x-": {},
        f"^({SECTIONS})$": {"type": ["object", "array", "null", "string"]},
    },
    "additionalProperties": False,
}
"""The sections of the configuration; the exporter itself validates what is in them."""

DETAILS: Final[dict[str, Schema]] = {
    "global": {"additionalProperties": True},
    "global.imagePullSecrets": NAMES,
    "imagePullSecrets": NAMES,
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "image.repository": {"minLength": 1},
    "image.tag": {"pattern": r"^[\w.-]*$"},
    "image.digest": {"pattern": "^(sha256:[0-9a-f]{64})?$"},
    "nameOverride": {"pattern": "^([a-z]([a-z0-9-]*[a-z0-9])?)?$"},
    "fullnameOverride": {"pattern": "^([a-z]([a-z0-9-]*[a-z0-9])?)?$"},
    "replicaCount": {"minimum": 0},
    "sharding.shards": {"minimum": 1, "maximum": 1000},
    "sharding.ordinal": {"type": ["integer", "null"], "minimum": 0},
    "config": CONFIG,
    "configReload.interval": {"pattern": INTERVAL},
    "existingSecrets": {**STRINGS, "uniqueItems": True},
    "log.level": {"enum": [*LEVELS]},
    "log.format": {"enum": ["logfmt", "json"]},
    "extraArgs": {"type": "array", "items": {"type": "string", "pattern": "^--"}},
    "caBundle.key": {"pattern": r"^[\w.-]+$"},
    "persistence.accessModes": STRINGS,
    "persistence.size": {"minLength": 1},
    "database.port": {"minimum": 1, "maximum": 65535},
    "database.key": {"minLength": 1},
    "webConfiguration": {
        "properties": {
            "tls_server_config": {"type": "object"},
            "http_server_config": {"type": "object"},
            "basic_auth_users": TEXTS,
            "rate_limit": {"type": "object"},
        },
        "additionalProperties": False,
    },
    "proxy.httpsProxy": {"pattern": f"^(https?://{VISIBLE}+)?$"},
    "proxy.httpProxy": {"pattern": f"^(https?://{VISIBLE}+)?$"},
    "web.externalUrl": {"pattern": f"^(https?://{VISIBLE}+)?$"},
    "web.routePrefix": {"pattern": f"^(/{VISIBLE}*)?$"},
    "web.telemetryPath": {"pattern": f"^/{VISIBLE}+$"},
    "service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "service.port": {"minimum": 1, "maximum": 65535},
    "service.nodePort": {"type": ["integer", "null"], "minimum": 1, "maximum": 65535},
    "service.ipFamilyPolicy": {"enum": ["", "SingleStack", "PreferDualStack", "RequireDualStack"]},
    "service.ipFamilies": {"items": {"enum": ["IPv4", "IPv6"]}},
    "ingress.hosts": {
        "items": {
            "type": "object",
            "required": ["paths"],
            "properties": {
                "host": {"type": "string"},
                "paths": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["path"],
                        "properties": {
                            "path": {"type": "string", "pattern": "^/"},
                            "pathType": {"enum": ["Exact", "Prefix", "ImplementationSpecific"]},
                        },
                        "additionalProperties": False,
                    },
                },
            },
            "additionalProperties": False,
        }
    },
    "ingress.tls": OBJECTS,
    "route": {"propertyNames": {"pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"}},
    "route.main.hostnames": STRINGS,
    "route.main.parentRefs": OBJECTS,
    "route.main.matches": OBJECTS,
    "route.main.filters": OBJECTS,
    "route.main.additionalRules": OBJECTS,
    "serviceMonitor.interval": {"pattern": DURATION},
    "serviceMonitor.scrapeTimeout": {"pattern": DURATION},
    "serviceMonitor.relabelings": OBJECTS,
    "serviceMonitor.metricRelabelings": OBJECTS,
    "serviceMonitor.targetLabels": STRINGS,
    "serviceMonitor.podTargetLabels": STRINGS,
    "serviceMonitor.sampleLimit": LIMIT,
    "serviceMonitor.labelLimit": LIMIT,
    "serviceMonitor.labelNameLengthLimit": LIMIT,
    "serviceMonitor.labelValueLengthLimit": LIMIT,
    "serviceMonitor.bodySizeLimit": {"pattern": "^([0-9]+([KMGTPE]i?)?B)?$"},
    "serviceMonitor.scheme": {"enum": ["", "http", "https"]},
    "serviceMonitor.basicAuth": {
        "properties": {"username": {"type": "object"}, "password": {"type": "object"}},
        "additionalProperties": False,
    },
    "prometheusRule.grafanaUrl": {"pattern": "^(https?://.+)?$"},
    "prometheusRule.runbookUrl": {"pattern": "^https?://.+$"},
    "prometheusRule.additionalGroups": OBJECTS,
    "dashboards.sidecarLabel": {"minLength": 1},
    "dashboards.grafanaOperator.resyncPeriod": {"pattern": GO_DURATION},
    "networkPolicy.ingressFrom": OBJECTS,
    "networkPolicy.awsTo": OBJECTS,
    "networkPolicy.extraEgress": OBJECTS,
    "networkPolicy.extraIngress": OBJECTS,
    "revisionHistoryLimit": {"minimum": 0},
    "progressDeadlineSeconds": {"minimum": 1},
    "terminationGracePeriodSeconds": {"minimum": 0},
    "podDisruptionBudget.minAvailable": PODS,
    "podDisruptionBudget.maxUnavailable": PODS,
    "podDisruptionBudget.unhealthyPodEvictionPolicy": {"enum": ["AlwaysAllow", "IfHealthyBudget"]},
    "nodeSelector": TEXTS,
    "tolerations": OBJECTS,
    "topologySpreadConstraints": OBJECTS,
    "hostAliases": OBJECTS,
    "extraEnv": OBJECTS,
    "extraEnvFrom": OBJECTS,
    "extraVolumes": OBJECTS,
    "extraVolumeMounts": OBJECTS,
    "extraContainers": OBJECTS,
    "extraInitContainers": OBJECTS,
    "extraManifests": {"type": "array", "items": {"type": ["object", "string"]}},
}
"""What the default of a value does not say about its type, by path."""

OPTIONAL: Final = frozenset(
    {
        "livenessProbe",
        "podSecurityContext",
        "readinessProbe",
        "resources",
        "route.main",
        "route.main.matches",
        "securityContext",
        "serviceMonitor.dropTargetLabels",
        "serviceMonitor.interval",
        "startupProbe",
    }
)
"""Values with a default that null removes."""

SEVEN_DAYS: Final = (
    "AwsIamAccessKeyUnused",
    "AwsIamAccessKeyNotRotated",
)
"""Alerts that leave out the keys of the last 7 days."""

TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}


def values_schema(values: list[Value]) -> Schema:
    """Return the schema of *values*."""
    root: Schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **_object(_of(values, ())),
    }
    schemas: dict[tuple[str, ...], Schema] = {(): root}
    for value in values:
        schema = _schema(value, values)
        schemas[value.keys] = schema
        schemas[value.keys[:-1]]["properties"][value.keys[-1]] = schema
    condition = "For the condition under which a chart contains this one. It does nothing here."
    root["properties"]["enabled"] = {"description": condition, "type": "boolean"}
    monitor = schemas["serviceMonitor",]["properties"]
    schemas["podMonitor",]["properties"] = {**monitor, **schemas["podMonitor",]["properties"]}
    main = schemas["route", "main"]
    schemas["route",]["additionalProperties"] = {**main, "required": ["enabled"]}
    return root


def _of(values: list[Value], keys: tuple[str, ...]) -> list[Value]:
    return [value for value in values if value.keys[:-1] == keys]


def _object(parts: list[Value]) -> Schema:
    """Return the schema of an object with these keys. Where null means nothing, it is refused."""
    required = [part.keys[-1] for part in parts if part.default and not _is_optional(part)]
    schema: Schema = {"type": "object", "properties": {}, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def _is_optional(value: Value) -> bool:
    """Whether null, which removes a default, is a way to say that there is no such thing."""
    is_alert = value.keys[:-1] == ("prometheusRule", "alerts")
    return is_alert or value.path in OPTIONAL


def _schema(value: Value, values: list[Value]) -> Schema:
    text = {"description": value.text} if value.text else {}
    if value.keys[:-1] == ("prometheusRule", "alerts"):
        return {**text, **_alert(value)}
    details = DETAILS.get(value.path, {})
    if value.has_parts:
        return {**text, **_object(_of(values, value.keys)), **details}
    if isinstance(value.default, dict):
        of_texts = value.keys[-1].lower().endswith(("labels", "annotations"))
        return {**text, **(TEXTS if of_texts else {"type": "object"}), **details}
    type_ = {} if value.default is None else {"type": TYPES[type(value.default)]}
    return {**text, **type_, **details}


def _alert(value: Value) -> Schema:
    minimum = 7 if value.keys[-1] in SEVEN_DAYS else 0
    number = {"type": "number", "minimum": minimum}
    properties: Schema = {
        "enabled": {"type": "boolean"},
        "severity": {"type": "string", "minLength": 1},
        "for": {"type": "string", "pattern": DURATION},
        "keepFiringFor": {"type": "string", "pattern": DURATION},
        "labels": TEXTS,
        "annotations": TEXTS,
    }
    limit = value.default.get("limit")
    if isinstance(limit, list):
        count = len(limit)
        items = {"type": "array", "items": number, "minItems": count, "maxItems": count}
        properties["limit"] = items
    elif limit is not None:
        properties["limit"] = number
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "required": [key for key in ("enabled", "severity", "limit") if key in value.default],
    }
