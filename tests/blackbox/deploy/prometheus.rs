//! `deploy/prometheus` and `deploy/grafana`: in a real Prometheus.
