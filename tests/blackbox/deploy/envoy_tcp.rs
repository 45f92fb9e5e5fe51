//! `deploy/envoy/tcp.yaml`: a load balancer that looks at no byte.
