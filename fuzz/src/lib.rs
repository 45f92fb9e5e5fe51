//! The bodies of the fuzz targets, without a fuzzer.

pub mod references;
pub mod targets;
