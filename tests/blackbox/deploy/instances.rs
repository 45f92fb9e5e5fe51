//! Three instances behind a real Envoy: one is killed, one drained and replaced, Envoy reloads.
