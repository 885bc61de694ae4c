"""The Grafana dashboards and the code that generates them."""
