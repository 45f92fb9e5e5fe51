//! `deploy/apache`: a website of Apache's, with the tunnel on one of its paths.
