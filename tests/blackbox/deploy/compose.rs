//! `deploy/compose`: checked by docker-compose.
