//! Package archives → entry streams: wheels and Debian packages.

pub mod deb;
pub mod wheel;
