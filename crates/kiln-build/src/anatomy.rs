//! Where the bytes of an image are: by component and package, and by path.
//!
//! Unpacked sizes are those of the files in the layers. A layer is compressed as a whole, so its
//! compressed bytes are shared out among its files by their size; sums over a layer are exact. A
//! layer of directories and removals alone is its step's.
//! Whose a file is say the records in the image itself: the `RECORD` of a wheel, dpkg's list of a
//! package.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read as _},
    ops::AddAssign,
};

use kiln_layer::{ReadLimits, RecordKind, read_layer};
use kiln_oci::LayerDescriptor;
use kiln_package::wheel::record_path;
use kiln_plan::{ImagePlan, Plan};
use kiln_store::Store;

use crate::error::BuildError;

/// The largest list of files of one package that is read.
const MAX_LIST: u64 = 64 << 20;
/// What stands before a file's content in a tar stream.
const HEADER: u64 = 512;

/// Bytes of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    /// In compressed layers.
    pub compressed: u64,
    /// Of the files themselves.
    pub unpacked: u64,
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        self.compressed += other.compressed;
        self.unpacked += other.unpacked;
    }
}

/// A directory or a file, with all that is below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// All bytes.
    pub bytes: Bytes,
    /// What is in it, by name.
    pub children: BTreeMap<String, Tree>,
}

impl Tree {
    fn add(&mut self, path: &str, bytes: Bytes) {
        let mut node = self;
        node.bytes += bytes;
        for name in path.split('/') {
            node = node.children.entry(name.to_owned()).or_default();
            node.bytes += bytes;
        }
    }
}

/// Where the bytes of an image are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anatomy {
    /// For each component, in layer order: its packages, and what else its layers hold.
    pub components: Vec<(String, BTreeMap<String, Bytes>)>,
    /// The root directory.
    pub tree: Tree,
}

/// A file of a layer.
struct File {
    path: String,
    size: u64,
}

/// Takes the layers of `image` apart. They must be in the store.
pub fn anatomy(
    plan: &Plan,
    image: &ImagePlan,
    layers: &[LayerDescriptor],
    store: &Store,
) -> Result<Anatomy, BuildError> {
    let mut owners = HashMap::new();
    let mut read = Vec::with_capacity(layers.len());
    for layer in layers {
        read.push(files(store, layer, &mut owners)?);
    }
    let mut anatomy = Anatomy::default();
    for ((used, layer), files) in image.layers.iter().zip(layers).zip(read) {
        let step = &plan.steps[used.step];
        let component = step.component.to_string();
        if anatomy.components.last().map(|(name, _)| name) != Some(&component) {
            anatomy.components.push((component, BTreeMap::new()));
        }
        anatomy.add_layer(&step.title, layer.size, &files, &owners);
    }
    Ok(anatomy)
}

impl Anatomy {
    /// Adds a layer of the last component: its compressed size, and its files.
    fn add_layer(
        &mut self,
        title: &str,
        size: u64,
        files: &[File],
        owners: &HashMap<String, String>,
    ) {
        let Some((_, packages)) = self.components.last_mut() else {
            return;
        };
        if files.is_empty() {
            let bytes = Bytes {
                compressed: size,
                unpacked: 0,
            };
            *packages.entry(title.to_owned()).or_default() += bytes;
            self.tree.bytes += bytes;
        }
        let total: u64 = files.iter().map(|file| file.size + HEADER).sum();
        let mut before = 0;
        for file in files {
            let after = before + file.size + HEADER;
            let bytes = Bytes {
                compressed: part(size, after, total) - part(size, before, total),
                unpacked: file.size,
            };
            before = after;
            let owner = owner(owners, &file.path);
            let owner = owner.unwrap_or_else(|| title.to_owned());
            *packages.entry(owner).or_default() += bytes;
            self.tree.add(&file.path, bytes);
        }
    }
}

/// `size * part / total`, rounded down.
fn part(size: u64, part: u64, total: u64) -> u64 {
    let product = u128::from(size) * u128::from(part);
    let quotient = product.checked_div(u128::from(total)).unwrap_or_default();
    u64::try_from(quotient).unwrap_or(size)
}

/// The files of a layer; lists of packages are noted in `owners`.
fn files(
    store: &Store,
    layer: &LayerDescriptor,
    owners: &mut HashMap<String, String>,
) -> Result<Vec<File>, BuildError> {
    let mut files = Vec::new();
    let blob = store.open_blob(&layer.digest)?;
    let read = read_layer(blob, ReadLimits::default(), |record, content| {
        if matches!(
            record.kind,
            RecordKind::Directory | RecordKind::Whiteout | RecordKind::OpaqueWhiteout
        ) {
            return Ok(());
        }
        let path = record.path.to_string();
        if let Some(list) = List::at(&path) {
            let mut text = String::new();
            let mut bounded = content.take(MAX_LIST);
            // A list that is no text says nothing.
            if bounded.read_to_string(&mut text).is_ok() {
                list.note(&text, owners);
            } else {
                io::copy(&mut bounded, &mut io::sink())?;
            }
        }
        files.push(File {
            path,
            size: record.size,
        });
        Ok(())
    });
    read.map_err(|source| BuildError::Layer {
        digest: layer.digest,
        source,
    })?;
    Ok(files)
}

/// A file that says which files a package has.
#[derive(Debug, PartialEq, Eq)]
enum List<'a> {
    /// `RECORD` of a wheel: its paths are relative to this directory.
    Wheel {
        package: &'a str,
        directory: &'a str,
    },
    /// dpkg's list of a package.
    Deb { package: &'a str },
}

impl<'a> List<'a> {
    fn at(path: &'a str) -> Option<Self> {
        if let Some(info) = path.strip_suffix(".dist-info/RECORD") {
            let (directory, name) = info.rsplit_once('/')?;
            let package = name.split('-').next()?;
            return Some(Self::Wheel { package, directory });
        }
        let name = path.strip_prefix("var/lib/dpkg/info/")?;
        let package = name.strip_suffix(".list")?.split(':').next()?;
        Some(Self::Deb { package })
    }

    fn note(&self, text: &str, owners: &mut HashMap<String, String>) {
        for line in text.lines() {
            match self {
                Self::Wheel { package, directory } => {
                    // Only a list that nobody could read has rows that are none.
                    let Some(path) = record_path(line) else {
                        continue;
                    };
                    let owner = package.replace('_', "-").to_ascii_lowercase();
                    owners.insert(joined(directory, &path), owner);
                }
                Self::Deb { package } => {
                    let path = line.trim_start_matches('/');
                    owners.insert(path.to_owned(), (*package).to_owned());
                }
            }
        }
    }
}

/// A path relative to a directory, without `..`.
fn joined(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = directory.split('/').collect();
    for part in path.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whose a file is. Compiled modules are whose their source is; dpkg lists paths as before `/usr`
/// was merged.
fn owner(owners: &HashMap<String, String>, path: &str) -> Option<String> {
    let listed = |path: &str| {
        let short = || path.strip_prefix("usr/").and_then(|it| owners.get(it));
        owners.get(path).or_else(short).cloned()
    };
    if let Some(owner) = listed(path) {
        return Some(owner);
    }
    if let Some(name) = path.strip_prefix("var/lib/dpkg/info/") {
        let (package, _) = name.rsplit_once('.')?;
        return package.split(':').next().map(str::to_owned);
    }
    let (directory, file) = path.rsplit_once("/__pycache__/")?;
    let module = file.split('.').next()?;
    listed(&format!("{directory}/{module}.py"))
}

#[cfg(test)]
mod tests {
    use kiln_layer::{Entry, EntryKind, EntryPath, Payload};

    use super::*;

    #[test]
    fn lists_say_whose_files_are() {
        let mut owners = HashMap::new();
        let site = "opt/app-root/lib/python3.11/site-packages";
        let record = format!("{site}/Foo_bar-1.0.dist-info/RECORD");
        let list = List::at(&record).unwrap();
        list.note(
            "foo/__init__.py,sha256=x,1\r\n../../../bin/foo,,\r\n\"foo/a,\"\"b\"\".txt\",sha256=x,1\r\n",
            &mut owners,
        );
        let dpkg = List::at("var/lib/dpkg/info/libc6:amd64.list").unwrap();
        assert_eq!(dpkg, List::Deb { package: "libc6" });
        dpkg.note("/.\n/lib/libc.so.6\n/usr/share/doc/libc6\n", &mut owners);
        let whose = |path: &str| owner(&owners, path);
        assert_eq!(
            whose(&format!("{site}/foo/__init__.py")),
            Some("foo-bar".to_owned())
        );
        let compiled = format!("{site}/foo/__pycache__/__init__.cpython-311.pyc");
        assert_eq!(whose(&compiled), Some("foo-bar".to_owned()));
        assert_eq!(whose("opt/app-root/bin/foo"), Some("foo-bar".to_owned()));
        let quoted = format!("{site}/foo/a,\"b\".txt");
        assert_eq!(whose(&quoted), Some("foo-bar".to_owned()));
        assert_eq!(
            whose("usr/lib/libc.so.6"),
            Some("libc6".to_owned()),
            "merged"
        );
        assert_eq!(
            whose("var/lib/dpkg/info/libc6:amd64.md5sums"),
            Some("libc6".to_owned())
        );
        assert_eq!(whose("etc/passwd"), None);
        assert_eq!(List::at("etc/RECORD"), None);
    }

    #[test]
    fn compressed_bytes_are_shared_out_whole() {
        let sizes = [0, 10, 1, 999, 7];
        let total: u64 = sizes.iter().sum();
        let mut before = 0;
        let mut sum = 0;
        for size in sizes {
            sum += part(123, before + size, total) - part(123, before, total);
            before += size;
        }
        assert_eq!(sum, 123);
        assert_eq!(part(5, 0, 0), 0);
    }

    #[test]
    fn directories_and_removals_are_no_files() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path().join("store")).unwrap();
        let entries = [
            ("opt", EntryKind::Directory),
            (
                "opt/file",
                EntryKind::File(Payload::Plain(b"content".to_vec().into())),
            ),
            ("opt/gone", EntryKind::Whiteout),
            ("opt/link", EntryKind::Symlink(b"file".to_vec())),
        ]
        .map(|(path, kind)| Entry {
            path: EntryPath::new(path).unwrap(),
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: kiln_layer::REPRODUCIBLE_MTIME,
            capability: None,
        });
        let mut writer = store.blob_writer().unwrap();
        let compression = kiln_layer::Compression::Zstd;
        let summary = kiln_layer::write_layer(&entries, compression, &mut writer).unwrap();
        let layer = crate::assemble::descriptor(&summary, kiln_plan::Compression::Zstd);
        writer.commit(&layer.digest, layer.size).unwrap();
        let files = files(&store, &layer, &mut HashMap::new()).unwrap();
        let found: Vec<_> = files.iter().map(|it| (it.path.as_str(), it.size)).collect();
        assert_eq!(found, [("opt/file", 7), ("opt/link", 0)]);
    }

    #[test]
    fn no_byte_of_a_layer_is_lost() {
        let mut anatomy = Anatomy::default();
        anatomy
            .components
            .push(("base/a".to_owned(), BTreeMap::new()));
        anatomy.add_layer("directories", 100, &[], &HashMap::new());
        let file = |path: &str, size| File {
            path: path.to_owned(),
            size,
        };
        let files = [file("a/x", 10), file("a/y", 0), file("b", 90)];
        anatomy.add_layer("files", 1000, &files, &HashMap::new());
        let total = Bytes {
            compressed: 1100,
            unpacked: 100,
        };
        assert_eq!(anatomy.tree.bytes, total);
        let packages = &anatomy.components[0].1;
        assert_eq!(packages["directories"].compressed, 100);
        assert_eq!(packages["files"].compressed, 1000);
    }

    #[test]
    fn directories_hold_what_is_below_them() {
        let mut tree = Tree::default();
        let bytes = |unpacked| Bytes {
            compressed: 1,
            unpacked,
        };
        tree.add("usr/bin/a", bytes(3));
        tree.add("usr/lib", bytes(4));
        assert_eq!(
            tree.bytes,
            Bytes {
                compressed: 2,
                unpacked: 7
            }
        );
        assert_eq!(tree.children["usr"].bytes.unpacked, 7);
        assert_eq!(tree.children["usr"].children["bin"].bytes.unpacked, 3);
    }
}
