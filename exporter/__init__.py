"""A Prometheus exporter that reports when each AWS IAM access key was last used, and where."""

__version__ = "0.1.0"
