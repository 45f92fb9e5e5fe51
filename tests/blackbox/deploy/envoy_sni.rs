//! `deploy/envoy/sni.yaml`: one port, shared by the name in the TLS hello.
