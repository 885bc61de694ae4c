"""The dashboards, and the module that writes them."""
