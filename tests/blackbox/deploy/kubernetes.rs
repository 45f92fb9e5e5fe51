//! `deploy/kubernetes`: rendered, checked against the schemas, and its pods run.

mod checks;
mod dns;
mod envoy;
mod kubelet;
mod pods;
mod rendered;
mod service;
mod wrong;
