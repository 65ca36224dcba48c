//! kiln-resolve
