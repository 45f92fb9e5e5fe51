//! `deploy/nginx`: a website of nginx's, with the tunnel on one of its paths.
