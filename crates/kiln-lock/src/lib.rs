//! kiln-lock
