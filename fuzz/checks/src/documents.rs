//! Documents: of the user (families, locks), of the store, of registries.

use kiln_digest::Digest;
use kiln_lock::{Companion, Lock};
use kiln_oci::{Image, Layout, children};
use kiln_plan::{Action, PlanOptions, plan};
use kiln_recipe::{Candidate, Family, FamilyFiles, NamePattern, parse, select};
use kiln_store::ActionResult;

use crate::{sections, shown};

/// `kiln.lock`: what is read is written so that it reads the same.
pub fn lock(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        read_lock(text);
    }
}

fn read_lock(text: &str) -> Option<Lock> {
    let lock = Lock::parse(text);
    if let Err(error) = &lock {
        let _ = error.hint();
    }
    let lock = shown(lock)?;
    let again = Lock::parse(&lock.render()).expect("what was read is written and read again");
    assert_eq!(again, lock);
    assert!(kiln_lock::diff(&lock, &again).is_empty());
    Some(lock)
}

/// `kiln.layers`.
pub fn companion(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Some(companion) = shown(Companion::parse(text)) else {
        return;
    };
    let again = Companion::parse(&companion.render());
    assert_eq!(again.ok(), Some(companion));
}

/// The files of a family, one in each section; `kiln.lock` may be among them. A family and a lock
/// that agree make a plan.
pub fn family(data: &[u8]) {
    let mut files = FamilyFiles::default();
    let mut lock = None;
    for (name, content) in sections(data) {
        if name == "kiln.lock" {
            lock = std::str::from_utf8(content).ok().and_then(read_lock);
            continue;
        }
        let name = match name.strip_suffix('!') {
            Some(name) => {
                files.executables.insert(name.to_owned());
                name
            }
            None => name,
        };
        files.files.insert(name.to_owned(), content.to_vec());
    }
    let family: Family = match parse(&files) {
        Ok(family) => family,
        Err(errors) => {
            assert!(!errors.0.is_empty(), "refused without a reason");
            for error in errors.0 {
                let _ = shown::<(), _>(Err(error));
            }
            return;
        }
    };
    let _ = kiln_lock::requests(&family);
    let Some(lock) = lock else { return };
    if shown(kiln_lock::check(&family, &lock)).is_none() {
        return;
    }
    let images: Vec<_> = lock.images.iter().collect();
    for pack_only in [true, false] {
        let options = PlanOptions {
            pack_only,
            ..PlanOptions::default()
        };
        let Some(plan) = shown(plan(&family, &lock, &images, options)) else {
            continue;
        };
        for step in &plan.steps {
            let decoded: Action = serde_json::from_slice(&step.action.encode()).unwrap();
            assert_eq!(decoded, step.action);
        }
    }
}

/// A line with a pattern of names; all others are names, or parts of names.
pub fn image_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.lines();
    let pattern = shown(NamePattern::parse(lines.next().unwrap_or_default())).unwrap_or_default();
    let mut images = Vec::new();
    let lines: Vec<&str> = lines.collect();
    for line in &lines {
        let Some(name) = shown(pattern.parse_name(line)) else {
            continue;
        };
        assert_eq!(pattern.render(&name), **line, "{}", pattern.text);
        images.push(Candidate {
            name: (*line).to_owned(),
            base: name.os.clone(),
            accelerator: "cpu".to_owned(),
            bundle: name.bundle.clone(),
            ide: name.ide.clone(),
        });
    }
    for line in &lines {
        let selected = select(&images, line, None);
        if let Err(error) = &selected {
            let _ = error.hint();
        }
        for index in shown(selected).unwrap_or_default() {
            assert!(index < images.len());
        }
    }
}

/// Documents of the OCI image format: an index, or the sections `manifest` and `config`, of which
/// the first gets the digest of the second.
pub fn oci(data: &[u8]) {
    for kind in [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ] {
        let _ = shown(children(kind, data));
    }
    if let Some(layout) = shown(Layout::parse(data)) {
        let bytes = layout.to_bytes();
        let again = Layout::parse(&bytes).expect("what was read is written and read again");
        assert!(again.to_bytes() == bytes, "the second writing differs");
        assert!(again.entries().eq(layout.entries()));
        assert_eq!(again.children(), layout.children());
        for entry in layout.entries() {
            assert!(layout.find(&entry.name).is_some());
        }
    }
    let sections = sections(data);
    let section = |wanted| {
        let mut found = sections.iter().filter(|(name, _)| *name == wanted);
        found.next().map(|(_, content)| content.to_vec())
    };
    let (Some(manifest), Some(config)) = (section("manifest"), section("config")) else {
        return;
    };
    let manifest = with_config(&manifest, &config).unwrap_or(manifest);
    let _ = shown(Image::config_of(&manifest));
    let Some(image) = shown(Image::read(manifest, config)) else {
        return;
    };
    let _ = image.descriptor();
    let _ = (image.size(), image.unpacked_size());
}

fn with_config(manifest: &[u8], config: &[u8]) -> Option<Vec<u8>> {
    let mut manifest: serde_json::Value = serde_json::from_slice(manifest).ok()?;
    *manifest.get_mut("config")?.get_mut("digest")? = Digest::of(config).to_string().into();
    serde_json::to_vec(&manifest).ok()
}

/// The store's log of results: the lines of the input, each with its check sum made right.
pub fn results_log(data: &[u8]) {
    let _ = ActionResult::parse_log(data);
    let mut log = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        log.extend(&Digest::of(line).hex().as_bytes()[..16]);
        log.push(b' ');
        log.extend(line);
        log.push(b'\n');
    }
    for (key, result) in ActionResult::parse_log(&log) {
        let record = result.record(&key);
        let again = ActionResult::parse_log(record.as_bytes());
        assert_eq!(again.get(&key), Some(&result));
    }
}

/// An encoded action: what is read is encoded so that it reads the same and has one key.
pub fn action(data: &[u8]) {
    let Ok(action) = serde_json::from_slice::<Action>(data) else {
        return;
    };
    let encoded = action.encode();
    let again: Action = serde_json::from_slice(&encoded).expect("an encoding is read");
    assert_eq!(again, action);
    assert_eq!(again.key(), action.key());
    let _ = action.needs();
}
