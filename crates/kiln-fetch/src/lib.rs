//! kiln-fetch
