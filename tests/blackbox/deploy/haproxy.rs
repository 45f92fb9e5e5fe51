//! `deploy/haproxy`: a tunnel and a website behind HAProxy.
