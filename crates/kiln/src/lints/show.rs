//! What was found, for people and for programs.

use std::collections::BTreeSet;

use kiln_lint::{Finding, Report, Severity};
use kiln_lock::Lock;
use serde_json::json;

use crate::output::{Output, bytes, count};

/// How many images are named before the rest are counted.
const NAMED: usize = 3;

pub(super) fn report(report: &Report, lock: &Lock, images: usize, offline: bool, output: &Output) {
    if output.is_json() {
        as_json(report, images, output);
        return;
    }
    for finding in &report.findings {
        output.line(text(finding, images));
    }
    if output.verbosity > 0 {
        for finding in &report.waived {
            output.line(text(finding, images));
        }
    }
    if let Some(unseen) = unseen(report, lock, offline) {
        output.note(unseen);
    }
    output.note(summary(report, images));
}

/// `linted 8 images: 1 error, 2 warnings, 3 waived`.
fn summary(report: &Report, images: usize) -> String {
    let mut parts = Vec::new();
    for severity in [Severity::Error, Severity::Warning] {
        match report.count(severity) {
            0 => {}
            number => parts.push(count(number, &severity.to_string())),
        }
    }
    if parts.is_empty() {
        parts.push("nothing found".to_owned());
    }
    if !report.waived.is_empty() {
        parts.push(format!("{} waived", report.waived.len()));
    }
    format!("linted {}: {}", count(images, "image"), parts.join(", "))
}

/// What was not looked at, and why.
fn unseen(report: &Report, lock: &Lock, offline: bool) -> Option<String> {
    let archives: BTreeSet<_> = report.unseen.values().flatten().collect();
    if archives.is_empty() {
        return None;
    }
    let is_built = |id| lock.wheel(id).is_some_and(|it| it.built_from.is_some());
    let (built, absent): (Vec<_>, Vec<_>) = archives.into_iter().partition(|id| is_built(id));
    let mut causes = Vec::new();
    if !absent.is_empty() {
        let size = |id| {
            let wheel = lock.wheel(id).map(|it| it.size);
            wheel.or(lock.deb(id).map(|it| it.size))
        };
        let size: u64 = absent.iter().filter_map(|id| size(id)).sum();
        causes.push(format!(
            "{} ({}) {} not here; {}",
            count(absent.len(), "archive"),
            bytes(size),
            if absent.len() == 1 { "is" } else { "are" },
            if offline {
                "`kiln lint` without `--offline` downloads and reads them"
            } else {
                "`kiln lint` downloads and reads them"
            },
        ));
    }
    match built.len() {
        0 => {}
        1 => causes.push("1 wheel is built from source and comes with `kiln build`".to_owned()),
        more => causes.push(format!(
            "{more} wheels are built from source and come with `kiln build`"
        )),
    }
    Some(format!(
        "the libraries of {} were not looked at: {}",
        count(report.unseen.len(), "image"),
        causes.join("; "),
    ))
}

/// A finding in some lines.
fn text(finding: &Finding, all: usize) -> String {
    let label = match &finding.waived {
        Some(_) => "waived".to_owned(),
        None => finding.severity.to_string(),
    };
    let mut lines = vec![format!("{label}: {} [{}]", finding.reason, finding.lint)];
    lines.push(match &finding.origin {
        Some(origin) if origin.request.is_empty() => {
            format!("  at {}, whose essential packages have it", finding.at)
        }
        Some(origin) => format!("  at {}, which asks for `{}`", finding.at, origin.request),
        None => format!("  at {}", finding.at),
    });
    if let Some(origin) = &finding.origin
        && origin.path.len() > 1
    {
        lines.push(format!("  through {}", origin.path.join(" → ")));
    }
    if !finding.images.is_empty() {
        lines.push(format!("  in {}", of_images(&finding.images, all)));
    }
    if let Some(hint) = &finding.hint {
        lines.push(format!("  hint: {hint}"));
    }
    if let Some(waived) = &finding.waived {
        lines.push(format!("  waived at {}: {}", waived.at, waived.reason));
    }
    lines.join("\n")
}

fn of_images(images: &[String], all: usize) -> String {
    if images.len() == all && all > 1 {
        return format!("all {all} images");
    }
    let (named, rest) = images.split_at(images.len().min(NAMED));
    let named = named.join(", ");
    match rest.len() {
        0 => named,
        rest => format!("{named} and {rest} more"),
    }
}

fn as_json(report: &Report, images: usize, output: &Output) {
    for finding in report.findings.iter().chain(&report.waived) {
        let origin = finding.origin.as_ref().map(|origin| {
            json!({
                "component": origin.component, "request": origin.request, "path": origin.path,
            })
        });
        let waived = finding
            .waived
            .as_ref()
            .map(|waived| json!({"reason": waived.reason, "at": waived.at.to_string()}));
        output.json(&json!({
            "event": "finding", "lint": finding.lint.id(), "severity": finding.severity.to_string(),
            "subject": finding.subject, "package": finding.package, "reason": finding.reason,
            "at": finding.at.to_string(), "origin": origin, "images": finding.images,
            "hint": finding.hint, "waived": waived,
        }));
    }
    let unseen: BTreeSet<_> = report.unseen.values().flatten().collect();
    output.json(&json!({
        "event": "linted", "images": images, "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning), "waived": report.waived.len(),
        "unseen_images": report.unseen.keys().collect::<Vec<_>>(), "unseen_archives": unseen,
    }));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kiln_lint::{Lint, Origin, Waived};
    use kiln_lock::{BuiltFrom, PackageId, Wheel};
    use kiln_recipe::{ComponentId, ComponentKind, Location};

    use super::*;

    fn at(line: u32) -> Location {
        Location {
            file: "bundles/vision/bundle.toml".to_owned(),
            line,
            column: 5,
        }
    }

    fn finding() -> Finding {
        Finding {
            severity: Severity::Error,
            lint: Lint::MissingLibrary,
            origin: Some(Origin {
                component: ComponentId {
                    kind: ComponentKind::Bundle,
                    name: "vision".to_owned(),
                },
                at: at(3),
                request: "supervision~=1.0".to_owned(),
                path: vec!["supervision".to_owned(), "opencv-python".to_owned()],
            }),
            at: at(3),
            subject: "libGL.so.1".to_owned(),
            package: Some("opencv-python".to_owned()),
            reason: "`opencv-python` 4.12 needs `libGL.so.1`".to_owned(),
            hint: Some("add `libgl1` to `packages`".to_owned()),
            images: ["a", "b", "c", "d"].map(str::to_owned).into(),
            waived: None,
        }
    }

    #[test]
    fn a_finding_says_where_through_what_and_what_to_do() {
        insta::assert_snapshot!(text(&finding(), 9), @r"
        error: `opencv-python` 4.12 needs `libGL.so.1` [missing-library]
          at bundles/vision/bundle.toml:3:5, which asks for `supervision~=1.0`
          through supervision → opencv-python
          in a, b, c and 1 more
          hint: add `libgl1` to `packages`
        ");
    }

    #[test]
    fn a_waived_finding_says_why() {
        let waived = Finding {
            waived: Some(Waived {
                reason: "nobody draws".to_owned(),
                at: at(9),
            }),
            origin: None,
            hint: None,
            ..finding()
        };
        insta::assert_snapshot!(text(&waived, 4), @r"
        waived: `opencv-python` 4.12 needs `libGL.so.1` [missing-library]
          at bundles/vision/bundle.toml:3:5
          in all 4 images
          waived at bundles/vision/bundle.toml:9:5: nobody draws
        ");
    }

    #[test]
    fn what_was_not_looked_at_is_said() {
        let mut report = Report {
            findings: vec![finding()],
            waived: vec![finding()],
            ..Report::default()
        };
        assert_eq!(summary(&report, 9), "linted 9 images: 1 error, 1 waived");
        assert_eq!(
            summary(&Report::default(), 1),
            "linted 1 image: nothing found"
        );
        let archive = PackageId("pypi/torch-2.6.0.whl".to_owned());
        report.unseen = BTreeMap::from([("a".to_owned(), vec![archive])]);
        let mut lock = Lock {
            version: kiln_lock::LOCK_VERSION,
            family: String::new(),
            release: String::new(),
            tools: vec![],
            indexes: vec![],
            requests: vec![],
            images: vec![],
            sets: vec![],
            debs: vec![],
            wheels: vec![],
        };
        insta::assert_snapshot!(
            unseen(&report, &lock, false).unwrap(),
            @"the libraries of 1 image were not looked at: 1 archive (0 B) is not here; `kiln lint` downloads and reads them"
        );
        insta::assert_snapshot!(
            unseen(&report, &lock, true).unwrap(),
            @"the libraries of 1 image were not looked at: 1 archive (0 B) is not here; `kiln lint` without `--offline` downloads and reads them"
        );
        lock.wheels.push(built());
        let archives = report.unseen.values_mut().next().unwrap();
        archives.push(built().id);
        insta::assert_snapshot!(
            unseen(&report, &lock, false).unwrap(),
            @"the libraries of 1 image were not looked at: 1 archive (0 B) is not here; `kiln lint` downloads and reads them; 1 wheel is built from source and comes with `kiln build`"
        );
        let archives = report.unseen.values_mut().next().unwrap();
        archives.remove(0);
        insta::assert_snapshot!(
            unseen(&report, &lock, true).unwrap(),
            @"the libraries of 1 image were not looked at: 1 wheel is built from source and comes with `kiln build`"
        );
    }

    fn built() -> Wheel {
        let digest = kiln_digest::Digest::of(b"");
        Wheel {
            id: PackageId("pypi/gensim-4.3-cp311-cp311-linux_x86_64.whl".to_owned()),
            name: "gensim".to_owned(),
            version: "4.3".to_owned(),
            source: "pypi".to_owned(),
            file: "gensim-4.3-cp311-cp311-linux_x86_64.whl".to_owned(),
            size: 1000,
            sha256: digest,
            requires: vec![],
            built_from: Some(BuiltFrom {
                file: "gensim-4.3.tar.gz".to_owned(),
                size: 1000,
                sha256: digest,
                base: "base".to_owned(),
                debs: vec![],
                requirements: vec![],
                env: BTreeMap::new(),
            }),
        }
    }
}
