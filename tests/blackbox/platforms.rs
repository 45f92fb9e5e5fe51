//! The program that was built for another platform, where a stand-in for that platform can run it.

mod wine;
