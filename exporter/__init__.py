"""Tells Prometheus which AWS IAM access keys are in use, by which service, in which region."""

__version__ = "0.1.0"
