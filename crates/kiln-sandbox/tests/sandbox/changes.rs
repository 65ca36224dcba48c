//! What jobs change is captured, the same whatever the kind of sandbox.

use kiln_sandbox::{Choice, IdChoice, TreeChoice};

use crate::root::{Store, run, shown};

#[test]
fn a_script_runs_and_its_changes_are_captured() {
    let store = Store::new();
    let sandbox = store
        .sandbox(Choice {
            ids: IdChoice::Root,
            tree: TreeChoice::Overlay,
        })
        .unwrap();
    let job = store.job(
        &[],
        "echo hello; mkdir /a; echo content > /a/b; ln -s b /a/c",
    );
    let (result, output) = run(&sandbox, &job, store.path());
    assert_eq!(output, "hello\n");
    assert_eq!(
        shown(&result.unwrap()),
        [
            "a 0755 0:0 directory",
            "a/b 0644 0:0 file \"content\\n\"",
            "a/c 0777 0:0 symlink to b",
        ]
    );
}
