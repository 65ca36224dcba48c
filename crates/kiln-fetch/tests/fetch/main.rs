//! Fetching, against servers on loopback that really do what is feared.

// `cfg(test)` tells clippy that these modules are tests as a whole.
#[cfg(test)]
mod documents;
#[cfg(test)]
mod downloads;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod interruption;
#[cfg(test)]
mod server;
