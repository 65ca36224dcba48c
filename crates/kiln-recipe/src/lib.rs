//! kiln-recipe
