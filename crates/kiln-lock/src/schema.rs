//! The JSON Schema of the lock, for editors and for programs that read it. It is written by hand;
//! tests compare it with the reader.

use kiln_recipe::Schema;

/// The schema of `kiln.lock`. (The companion has lines and not a tree, so it has no schema.)
pub fn schema() -> Schema {
    Schema {
        kind: "lock",
        files: "kiln.lock",
        text: include_str!("../schemas/lock.schema.json"),
    }
}
