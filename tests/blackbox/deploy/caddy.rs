//! `deploy/caddy`: a website of Caddy's, with the tunnel on one of its paths.
