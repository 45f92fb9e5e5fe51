//! `deploy/kubernetes`: rendered, checked against the schemas, and its pod run.
