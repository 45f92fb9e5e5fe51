//! `deploy/systemd`: the units.
