//! Wheels.
