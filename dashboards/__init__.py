"""The Grafana boards as code; `python -m dashboards` writes them into the chart."""
