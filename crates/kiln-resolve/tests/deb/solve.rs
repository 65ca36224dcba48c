//! What the solver promises, on small archives.

use kiln_lock::Deb;
use kiln_recipe::{Location, OsPackage};
use kiln_resolve::deb::{
    ArchiveName, Index, Located, Request, SolveError,
    packages::{self, ArchiveNumber},
    solve,
};
use proptest::prelude::*;

/// `name version; Field: value; …`, one package a line.
fn stanzas(table: &str) -> String {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(stanza).collect::<Vec<_>>().join("\n\n") + "\n"
}

fn stanza(line: &str) -> String {
    let (label, fields) = line.split_once(';').unwrap_or((line, ""));
    let (name, version) = label.split_once(' ').unwrap();
    let mut fields: Vec<&str> = fields.split(';').map(str::trim).collect();
    fields.retain(|field| !field.is_empty());
    if !line.contains("Architecture:") {
        fields.push("Architecture: amd64");
    }
    format!(
        "Package: {name}\nVersion: {version}\n{}\nFilename: pool/{name}_{version}.deb\n\
         Size: 1\nSHA256: {}",
        fields.join("\n"),
        kiln_digest::Digest::of(line.as_bytes()).hex()
    )
}

/// The index of suites, each a table.
fn suites(tables: &[(&str, &str)]) -> Index {
    let mut packages = Vec::new();
    let mut archives = Vec::new();
    for (number, (suite, table)) in (0..).zip(tables) {
        let text = stanzas(table);
        packages.extend(packages::read(text.as_bytes(), ArchiveNumber(number), "amd64").unwrap());
        archives.push(ArchiveName {
            source: "debian".to_owned(),
            suite: (*suite).to_owned(),
        });
    }
    Index::new("amd64", archives, packages)
}

fn suite(table: &str) -> Index {
    suites(&[("stable", table)])
}

fn wanted(texts: &[&str]) -> Vec<OsPackage> {
    let package = |(line, text): (u32, &&str)| {
        let (name, constraint) = match text.split_once(" (") {
            None => (*text, None),
            Some((name, rest)) => {
                let (operator, version) = rest.trim_end_matches(')').split_once(' ').unwrap();
                (name, Some((operator.to_owned(), version.to_owned())))
            }
        };
        let at = Location {
            file: "bases/d12.toml".to_owned(),
            line,
            column: 5,
        };
        OsPackage {
            text: (*text).to_owned(),
            name: name.to_owned(),
            constraint,
            at,
        }
    };
    (3..).zip(texts).map(package).collect()
}

fn solved(index: &Index, texts: &[&str]) -> Result<Vec<Deb>, SolveError> {
    solve(
        index,
        &Request {
            wanted: &wanted(texts),
            ..Request::default()
        },
    )
}

/// `name version` of what is chosen.
fn chosen(index: &Index, texts: &[&str]) -> Vec<String> {
    labels(&solved(index, texts).unwrap())
}

fn labels(debs: &[Deb]) -> Vec<String> {
    debs.iter()
        .map(|deb| format!("{} {}", deb.name, deb.version))
        .collect()
}

/// The message and the hint.
fn failure(index: &Index, texts: &[&str]) -> String {
    let error = solved(index, texts).unwrap_err();
    error.hint().map_or_else(
        || error.to_string(),
        |hint| format!("{error}\nhint: {hint}"),
    )
}

#[test]
fn needs_are_followed_and_recommendations_are_not() {
    let index = suite(
        "a 1; Depends: b; Pre-Depends: c; Recommends: d; Suggests: e
         b 1; Depends: a
         c 1
         d 1
         e 1",
    );
    assert_eq!(chosen(&index, &["a"]), ["a 1", "b 1", "c 1"]);
}

#[test]
fn the_first_alternative_is_taken_unless_another_is_there_anyway() {
    let index = suite(
        "a 1; Depends: x | y
         b 1; Depends: y
         c 1; Depends: gone | y
         x 1
         y 1",
    );
    assert_eq!(chosen(&index, &["a"]), ["a 1", "x 1"]);
    assert_eq!(chosen(&index, &["a", "b"]), ["a 1", "b 1", "y 1"]);
    assert_eq!(chosen(&index, &["b", "a"]), ["a 1", "b 1", "y 1"]);
    assert_eq!(chosen(&index, &["a", "y"]), ["a 1", "y 1"]);
    assert_eq!(chosen(&index, &["c"]), ["c 1", "y 1"]);
}

#[test]
fn a_virtual_package_is_provided_by_the_best() {
    let index = suite(
        "a 1; Depends: mta
         b 1; Depends: awk
         m-one 1; Provides: mta; Priority: optional
         m-two 1; Provides: mta; Priority: standard
         gawk 1; Provides: awk; Priority: required
         awk 1",
    );
    assert_eq!(chosen(&index, &["a"]), ["a 1", "m-two 1"]);
    assert_eq!(
        chosen(&index, &["b"]),
        ["awk 1", "b 1"],
        "a real package before its stand-ins"
    );
    assert_eq!(chosen(&index, &["a", "m-one"]), ["a 1", "m-one 1"]);
}

#[test]
fn only_versioned_provides_satisfy_versioned_relations() {
    let index = suite(
        "a 1; Depends: api (>= 2)
         one 1; Provides: api
         two 1; Provides: api (= 1)
         zwo 1; Provides: api (= 2.5)",
    );
    assert_eq!(chosen(&index, &["a"]), ["a 1", "zwo 1"]);
}

#[test]
fn conflicts_and_breaks_keep_apart_but_never_a_package_from_itself() {
    let index = suite(
        "a 1; Depends: x | y
         x 1; Breaks: b (<< 2)
         y 1
         b 1
         exim 1; Provides: mta; Conflicts: mta
         sendmail 1; Provides: mta; Conflicts: mta",
    );
    assert_eq!(chosen(&index, &["a", "b"]), ["a 1", "b 1", "y 1"]);
    assert_eq!(chosen(&index, &["exim"]), ["exim 1"]);
    insta::assert_snapshot!(failure(&index, &["a", "exim", "sendmail"]), @r"
    `exim` (bases/d12.toml:4:5) and `sendmail` (bases/d12.toml:5:5) cannot be installed together:
      sendmail is wanted
      sendmail 1 will not do: exim 1 conflicts with mta
    ");
}

#[test]
fn any_is_satisfied_by_packages_that_allow_it() {
    let index = suite(
        "a 1; Depends: python3:any
         b 1; Depends: lib:any
         c 1; Depends: lib:amd64
         d 1; Depends: lib:i386
         python3 1; Multi-Arch: allowed
         lib 1; Multi-Arch: same",
    );
    assert_eq!(chosen(&index, &["a"]), ["a 1", "python3 1"]);
    assert_eq!(chosen(&index, &["c"]), ["c 1", "lib 1"]);
    assert!(solved(&index, &["b"]).is_err());
    assert!(solved(&index, &["d"]).is_err());
}

#[test]
fn packages_of_other_architectures_are_not_there() {
    let index = suite(
        "a 1; Architecture: i386
         b 1; Architecture: all",
    );
    assert_eq!(chosen(&index, &["b"]), ["b 1"]);
    assert!(matches!(
        solved(&index, &["a"]),
        Err(SolveError::Unknown { .. })
    ));
}

#[test]
fn the_newest_version_of_all_suites_is_taken_unless_it_cannot_be() {
    let index = suites(&[
        (
            "stable",
            "ssl 3.0-1\n curl 1; Depends: ssl\n old 1; Depends: ssl (<< 3.0-2)\n both 2",
        ),
        ("stable-security", "ssl 3.0-1+deb12u1\n both 2"),
    ]);
    let debs = solved(&index, &["curl"]).unwrap();
    assert_eq!(labels(&debs), ["curl 1", "ssl 3.0-1+deb12u1"]);
    assert_eq!(debs[1].suite, "stable-security");
    assert_eq!(
        chosen(&index, &["curl", "ssl (= 3.0-1)"]),
        ["curl 1", "ssl 3.0-1"]
    );
    // The first archive that has a version gives it.
    assert_eq!(solved(&index, &["both"]).unwrap()[0].suite, "stable");
}

#[test]
fn essential_packages_come_when_asked_for() {
    let index = suites(&[
        (
            "stable",
            "dash 1; Essential: yes; Depends: libc\n init 1; Protected: yes\n libc 1\n a 1",
        ),
        ("updates", "dash 2; Essential: yes; Depends: libc"),
    ]);
    let wanted = wanted(&["a"]);
    let debs = solve(
        &index,
        &Request {
            wanted: &wanted,
            essential: true,
            ..Request::default()
        },
    )
    .unwrap();
    assert_eq!(labels(&debs), ["a 1", "dash 2", "libc 1"]);
    let flags: Vec<bool> = debs.iter().map(|deb| deb.essential).collect();
    assert_eq!(flags, [false, true, false]);
    assert_eq!(chosen(&index, &["a"]), ["a 1"]);
    assert!(solved(&index, &["init"]).unwrap()[0].essential);
}

#[test]
fn what_is_installed_stays_and_is_not_listed_again() {
    let old = suite("lib 1\n base 1; Depends: lib");
    let installed = solved(&old, &["base"]).unwrap();
    let index = suites(&[
        (
            "stable",
            "lib 1\n base 1; Depends: lib\n tool 1; Depends: lib\n modern 1; Depends: lib (>= 2)",
        ),
        ("updates", "lib 2"),
    ]);
    let solve_on_top = |texts: &[&str]| {
        solve(
            &index,
            &Request {
                wanted: &wanted(texts),
                installed: &installed,
                ..Request::default()
            },
        )
    };
    let debs = solve_on_top(&["tool", "base"]).unwrap();
    assert_eq!(labels(&debs), ["tool 1"]);
    assert_eq!(debs[0].depends, ["lib"]);
    insta::assert_snapshot!(solve_on_top(&["modern"]).unwrap_err(), @r"
    `modern` (bases/d12.toml:3:5) cannot be installed:
      modern 1 depends on lib (>= 2)
      lib 2 will not do: it is there already, so it is 1
    ");
}

#[test]
fn an_installed_package_that_nobody_lists_is_an_error() {
    let installed = solved(&suite("lib 1"), &["lib"]).unwrap();
    let request = Request {
        installed: &installed,
        ..Request::default()
    };
    insta::assert_snapshot!(
        solve(&suite("other 1"), &request).unwrap_err(),
        @"no archive lists `debian/lib_1_amd64` any more, which the sets below hold"
    );
}

#[test]
fn versions_of_the_previous_lock_are_kept_while_they_are_listed_and_do() {
    let old = suite("lib 1\n gone 1\n a 1; Depends: lib, gone");
    let prefer = solved(&old, &["a"]).unwrap();
    let index = suites(&[
        (
            "stable",
            "lib 1\n a 1; Depends: lib, gone\n b 1; Depends: lib (>= 2)",
        ),
        ("updates", "lib 2\n gone 2\n a 2; Depends: lib, gone"),
    ]);
    let relocked = |texts: &[&str]| {
        labels(
            &solve(
                &index,
                &Request {
                    wanted: &wanted(texts),
                    prefer: &prefer,
                    ..Request::default()
                },
            )
            .unwrap(),
        )
    };
    assert_eq!(relocked(&["a"]), ["a 1", "gone 2", "lib 1"]);
    assert_eq!(relocked(&["a", "b"]), ["a 1", "b 1", "gone 2", "lib 2"]);
}

#[test]
fn the_lock_says_which_packages_satisfy_each_need() {
    let index = suite(
        "a 1:2.0~rc1; Depends: mta, x | y, a, z (>= 1); Pre-Depends: z
         m 1; Provides: mta; Multi-Arch: same
         x 1
         z 1",
    );
    let debs = solved(&index, &["a"]).unwrap();
    assert_eq!(debs[0].id.0, "debian/a_1%3a2.0~rc1_amd64");
    assert_eq!(debs[0].version, "1:2.0~rc1");
    assert_eq!(debs[0].depends, ["m", "x", "z"]);
    assert!(debs[1].multi_arch_same);
    assert_eq!(debs[1].path, "pool/m_1.deb");
}

#[test]
fn unknown_packages_are_named_with_their_place_and_what_they_look_like() {
    let index = suite("libodbc2 1\n libodbc1 1\n curl 1");
    insta::assert_snapshot!(failure(&index, &["curl", "libodbc3"]), @r"
    bases/d12.toml:4:5: no archive has a package `libodbc3`
    hint: did you mean `libodbc1` or `libodbc2`?
    ");
    insta::assert_snapshot!(failure(&index, &["zzz"]), @r"
    bases/d12.toml:3:5: no archive has a package `zzz`
    hint: does the base name the archive and component that have it?
    ");
}

#[test]
fn impossible_constraints_say_which_versions_there_are() {
    let index = suites(&[("stable", "lib 1.0"), ("stable-updates", "lib 1.1")]);
    insta::assert_snapshot!(failure(&index, &["lib (>= 2)"]), @r"
    bases/d12.toml:3:5: no version fits `lib (>= 2)`; there is 1.1 (stable-updates), 1.0 (stable)
    hint: widen the constraint, or add an archive that has such a version
    ");
    insta::assert_snapshot!(failure(&index, &["lib (~ 2)"]), @r"
    bases/d12.toml:3:5: `lib (~ 2)` is not a package with a constraint
    hint: write it like `libodbc2 (>= 2.3)`
    ");
}

#[test]
fn a_virtual_package_must_be_named_by_one_of_its_providers() {
    let index = suite("one 1; Provides: mta, solo\n two 1; Provides: mta");
    assert_eq!(chosen(&index, &["solo"]), ["one 1"]);
    insta::assert_snapshot!(failure(&index, &["mta"]), @r"
    bases/d12.toml:3:5: `mta` is a virtual package of which there are several
    hint: name one of `one`, `two`
    ");
}

#[test]
fn a_need_that_nothing_satisfies_is_explained_by_the_way_to_it() {
    let index = suites(&[
        (
            "stable",
            "r-base 4; Depends: r-core (= 4)\n r-core 4; Depends: libr (>= 4) | libr-ng\n libr 3\n other 1",
        ),
        ("updates", "libr 3.5"),
    ]);
    insta::assert_snapshot!(failure(&index, &["other", "r-base"]), @r"
    `r-base` (bases/d12.toml:4:5) cannot be installed:
      r-base 4 depends on r-core (= 4)
      r-core 4 depends on libr (>= 4) | libr-ng
      no archive has such a version; there is libr 3.5 (updates), libr 3 (stable)
    ");
}

#[test]
fn a_conflict_deep_below_is_explained_by_both_ways_to_it() {
    let index = suite(
        "a 1; Depends: lib-new
         b 1; Depends: tool
         tool 1; Depends: lib-old
         lib-new 1; Conflicts: lib-old
         lib-old 1
         fine 1",
    );
    insta::assert_snapshot!(failure(&index, &["fine", "a", "b"]), @r"
    `a` (bases/d12.toml:4:5) and `b` (bases/d12.toml:5:5) cannot be installed together:
      b 1 depends on tool
      tool 1 depends on lib-old
      lib-old 1 will not do: lib-new 1 conflicts with lib-old
    ");
}

#[test]
fn a_package_with_unreadable_relations_is_passed_over_and_named_when_it_is_needed() {
    let index = suite("a 1; Depends: x | y\n x 1; Depends: (((\n y 1");
    assert_eq!(chosen(&index, &["a"]), ["a 1", "y 1"]);
    insta::assert_snapshot!(failure(&index, &["x"]), @r"
    `x` (bases/d12.toml:3:5) cannot be installed:
      x 1: `(((` is not a relation such as `libc6 (>= 2.36)`
    ");
}

#[test]
fn a_locked_package_is_found_again_or_its_successor_is() {
    let debs = solved(&suite("a 1\n b 1\n c 1"), &["a", "b", "c"]).unwrap();
    let index = suite("a 1\n b 2");
    assert!(matches!(index.locate(&debs[0]), Located::Listed(it) if it.version.to_string() == "1"));
    assert!(
        matches!(index.locate(&debs[1]), Located::Replaced(it) if it.version.to_string() == "2")
    );
    assert!(matches!(index.locate(&debs[2]), Located::Gone));
}

/// Small random archives: names `a` to `f`, versions 1 to 3, relations between them.
fn archives() -> impl Strategy<Value = String> {
    let relation = ("[a-f]", proptest::option::of(("<<|<=|=|>=|>>", "[1-3]")));
    let relation = relation.prop_map(|(name, constraint)| match constraint {
        Some((operator, version)) => format!("{name} ({operator} {version})"),
        None => name,
    });
    let depends =
        proptest::collection::vec(proptest::collection::vec(relation.clone(), 1..3), 0..3);
    let package = (
        "[a-f]",
        "[1-3]",
        depends,
        proptest::collection::vec(relation, 0..2),
    );
    proptest::collection::vec(package, 1..14).prop_map(|packages| {
        let line = |(name, version, depends, conflicts): &(
            String,
            String,
            Vec<Vec<String>>,
            Vec<String>,
        )| {
            let groups: Vec<String> = depends.iter().map(|group| group.join(" | ")).collect();
            format!(
                "{name} {version}; Depends: {}; Conflicts: {}",
                groups.join(", "),
                conflicts.join(", ")
            )
        };
        packages.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

proptest! {
    /// The answer is a solution, and there is none when it says so (all choices are tried).
    #[test]
    fn solutions_are_solutions_and_failures_are_failures(table in archives()) {
        let index = suite(&table);
        let target = &index.packages()[0].name.to_string();
        match solved(&index, &[target]) {
            Ok(debs) => {
                let numbers: Vec<u32> = debs.iter().map(|deb| {
                    index.numbers(&deb.name).find(|&it| index.get(it).sha256 == deb.sha256).unwrap()
                }).collect();
                prop_assert!(is_solution(&index, &numbers, target));
            }
            Err(error) => {
                prop_assert!(matches!(error, SolveError::Conflict { ref chain, .. } if !chain.is_empty()), "{error}");
                prop_assert!(!every_choice(&index).iter().any(|choice| is_solution(&index, choice, target)));
            }
        }
    }

    #[test]
    fn reading_packages_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = packages::read(&bytes[..], ArchiveNumber(0), "amd64");
    }

    #[test]
    fn reading_nearly_good_packages_never_panics(at in 0..260usize, byte in any::<u8>()) {
        let mut bytes = stanzas("a 1; Depends: b; Provides: c (= 2)\n b 1").into_bytes();
        let at = at.min(bytes.len() - 1);
        bytes[at] = byte;
        if let Ok(packages) = packages::read(&bytes[..], ArchiveNumber(0), "amd64") {
            let archive = ArchiveName { source: "debian".to_owned(), suite: "stable".to_owned() };
            let _ = solved(&Index::new("amd64", vec![archive], packages), &["a"]);
        }
    }
}

fn is_solution(index: &Index, numbers: &[u32], target: &str) -> bool {
    let present = |found: Vec<u32>| found.into_iter().any(|it| numbers.contains(&it));
    numbers.iter().any(|&it| &*index.get(it).name == target)
        && numbers.iter().all(|&number| {
            let package = index.get(number);
            let needs = package.dependencies().unwrap();
            let conflicts = package.conflicts().unwrap();
            needs
                .iter()
                .all(|group| group.iter().any(|it| present(index.satisfying(it))))
                && !conflicts.iter().flatten().any(|it| {
                    let mut found = index.satisfying(it);
                    found.retain(|&other| index.get(other).name != package.name);
                    present(found)
                })
        })
}

/// Every way to choose at most one version of each name.
fn every_choice(index: &Index) -> Vec<Vec<u32>> {
    let mut choices = vec![Vec::new()];
    for name in ["a", "b", "c", "d", "e", "f"] {
        let more: Vec<Vec<u32>> = choices
            .iter()
            .flat_map(|choice| {
                index.numbers(name).map(|number| {
                    let mut choice: Vec<u32> = choice.clone();
                    choice.push(number);
                    choice
                })
            })
            .collect();
        choices.extend(more);
    }
    choices
}

#[test]
fn malformed_packages_are_refused_by_name() {
    let good = stanzas("a 1");
    let cases = [
        (
            good.replace("Package: a", "Package: ../a"),
            "package `../a` has a malformed `Package`: `../a`",
        ),
        (
            good.replace("Version: 1", "Version: 1 2"),
            "package `a` has a malformed `Version`: `1 2`",
        ),
        (
            good.replace("Version: 1\n", ""),
            "package `a` has no `Version`",
        ),
        (
            good.replace("pool/", "../"),
            "package `a` has a malformed `Filename`: `../a_1.deb`",
        ),
        (
            good.replace("pool/", "/etc/"),
            "package `a` has a malformed `Filename`: `/etc/a_1.deb`",
        ),
        (
            good.replace("Size: 1", "Size: -1"),
            "package `a` has a malformed `Size`: `-1`",
        ),
        (
            good.replace("SHA256: ", "SHA256: x"),
            "package `a` has a malformed `SHA256`",
        ),
        (
            good.replace("SHA256", "MD5sum"),
            "package `a` has no `SHA256`",
        ),
        (format!("{good}garbage"), "is malformed"),
        (
            format!("Package: a\nDescription: {}\n", "x".repeat(2 << 20)),
            "the stanza at byte 0 has more than",
        ),
    ];
    for (text, expected) in cases {
        let error = packages::read(text.as_bytes(), ArchiveNumber(0), "amd64").unwrap_err();
        assert!(error.to_string().contains(expected), "{error} / {expected}");
    }
}

#[test]
fn stanzas_may_be_parted_by_several_lines_and_end_without_one() {
    let text = stanzas("a 1\n b 1").replace("\n\n", "\n \t\n\n\n");
    let packages = packages::read(text.trim_end().as_bytes(), ArchiveNumber(0), "amd64").unwrap();
    assert_eq!(packages.len(), 2);
}
