//! Libraries that are missing or too old.

use kiln_package::{
    elf::{Dynamic, Machine, Required},
    libraries::{Libraries, Link, Object},
};

use crate::world::{World, found, shown};

fn object(path: &str, dynamic: Dynamic) -> Object {
    Object {
        path: path.to_owned(),
        machine: Machine::X86_64,
        dynamic,
    }
}

fn objects(objects: impl IntoIterator<Item = Object>) -> Libraries {
    Libraries {
        objects: objects.into_iter().collect(),
        ..Libraries::default()
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|it| (*it).to_owned()).collect()
}

fn needing(libraries: &[&str]) -> Dynamic {
    Dynamic {
        needed: texts(libraries),
        ..Dynamic::default()
    }
}

fn named(soname: &str) -> Dynamic {
    Dynamic {
        soname: Some(soname.to_owned()),
        ..Dynamic::default()
    }
}

/// The C library of Debian 12, with its link of old times and its newest versions.
fn with_libc(world: World) -> World {
    let libc = Dynamic {
        defines: texts(&["GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_2.36"]),
        ..named("libc.so.6")
    };
    let libc = objects([object("lib/x86_64-linux-gnu/libc.so.6", libc)]);
    world.deb("libc6", "2.36-9").has("libc6", libc)
}

fn opencv(libraries: &[&str]) -> World {
    let world = World::new("requirements = [\n    \"supervision~=1.0\",\n]\n")
        .wheel(
            "supervision",
            "1.0",
            &["opencv-python>=4", "x; extra == 'y'"],
        )
        .wheel("opencv-python", "4.12", &[]);
    let module = object("cv2/cv2.abi3.so", needing(libraries));
    with_libc(world).has("opencv-python", objects([module]))
}

#[test]
fn a_missing_library_is_named_with_the_package_that_brings_it() {
    let report = opencv(&["libc.so.6", "libGL.so.1"])
        .owner("libGL.so.1", &["libgl1"])
        .lint();
    insta::assert_snapshot!(shown(&report));
}

#[test]
fn who_brings_a_library_is_asked_once_it_is_missing() {
    let report = opencv(&["libGL.so.1"]).lint();
    let wanted: Vec<_> = report.wanted.iter().map(|it| it.library.as_str()).collect();
    assert_eq!(wanted, ["libGL.so.1"]);
    assert_eq!(report.findings[0].hint, None);
    let report = opencv(&["libGL.so.1"]).owner("libGL.so.1", &[]).lint();
    assert!(report.wanted.is_empty());
    assert!(
        report.findings[0]
            .hint
            .as_ref()
            .unwrap()
            .contains("no package")
    );
}

#[test]
fn os_packages_bring_libraries_by_file_link_and_soname() {
    for (path, name) in [
        ("usr/lib/x86_64-linux-gnu/libGL.so.1", None),
        ("lib/libGL.so.1", None),
        (
            "usr/lib/x86_64-linux-gnu/mesa/libOther.so",
            Some("libGL.so.1"),
        ),
    ] {
        let library = name.map_or_else(Dynamic::default, named);
        let world = opencv(&["libGL.so.1"])
            .deb("libgl1", "1.6")
            .has("libgl1", objects([object(path, library)]));
        assert_eq!(found(&world.lint()), [""; 0], "{path}");
    }
    let linked = Libraries {
        links: vec![Link {
            path: "usr/lib/x86_64-linux-gnu/libGL.so.1".to_owned(),
            target: "libGL.so.1.7.0".to_owned(),
        }],
        ..objects([object(
            "usr/lib/x86_64-linux-gnu/libGL.so.1.7.0",
            Dynamic::default(),
        )])
    };
    let world = opencv(&["libGL.so.1"])
        .deb("libgl1", "1.6")
        .has("libgl1", linked);
    assert_eq!(found(&world.lint()), [""; 0]);
}

#[test]
fn links_lead_into_packages_that_come_later() {
    let link = |path: &str, target: &str| Libraries {
        links: vec![Link {
            path: path.to_owned(),
            target: target.to_owned(),
        }],
        ..Libraries::default()
    };
    // From the first package through the second into the third.
    let library = object("opt/gl/libGL.so.1.7.0", Dynamic::default());
    let world = opencv(&["libGL.so.1"])
        .deb("a", "1")
        .has("a", link("usr/lib/libGL.so.1", "/usr/lib/gl.so"))
        .deb("b", "1")
        .has("b", link("usr/lib/gl.so", "../../opt/gl/libGL.so.1.7.0"))
        .deb("z", "1");
    let there = world.has("z", objects([library]));
    assert_eq!(found(&there.lint()), [""; 0]);
}

#[test]
fn libraries_of_nvidias_os_packages_are_found() {
    let place = "usr/local/cuda-12.4/targets/x86_64-linux/lib/libcudart.so.12";
    let world = opencv(&["libcudart.so.12"])
        .deb("libcudart", "12.4")
        .has("libcudart", objects([object(place, Dynamic::default())]));
    assert_eq!(found(&world.lint()), [""; 0]);
}

#[test]
fn a_library_where_the_linker_does_not_look_does_not_count() {
    let elsewhere = objects([object("opt/libGL.so.1", Dynamic::default())]);
    let world = || opencv(&["libGL.so.1"]).deb("x", "1");
    let report = world().has("x", elsewhere.clone()).lint();
    assert_eq!(found(&report), ["missing-library libGL.so.1"]);
    let configured = Libraries {
        directories: texts(&["/opt"]),
        ..elsewhere
    };
    assert_eq!(found(&world().has("x", configured).lint()), [""; 0]);
}

#[test]
fn bundled_libraries_are_found_where_the_wheel_looks() {
    let module = Dynamic {
        rpath: texts(&["$ORIGIN/../numpy.libs"]),
        ..needing(&["libopenblas-1234.so"])
    };
    let world = |place: &str| {
        let world = World::new("requirements = [\"numpy\"]\n").wheel("numpy", "2.4.0", &[]);
        with_libc(world).has(
            "numpy",
            objects([
                object("numpy/core.so", module.clone()),
                object(place, Dynamic::default()),
            ]),
        )
    };
    assert_eq!(
        found(&world("numpy.libs/libopenblas-1234.so").lint()),
        [""; 0]
    );
    let report = world("numpy.libs/libother.so").lint();
    assert_eq!(found(&report), ["missing-library libopenblas-1234.so"]);
}

#[test]
fn libraries_of_other_wheels_count_by_their_names() {
    let world = World::with_cuda("requirements = [\"torchvision\"]\n")
        .wheel("torchvision", "0.21.0", &["torch"])
        .wheel("torch", "2.6.0", &[])
        .has(
            "torch",
            objects([object("torch/lib/libtorch.so", named("libtorch.so"))]),
        );
    let module = object(
        "torchvision/_C.so",
        needing(&["libtorch.so", "libcuda.so.1"]),
    );
    let world = with_libc(world).has("torchvision", objects([module]));
    assert_eq!(found(&world.lint()), [""; 0]);
}

#[test]
fn files_for_other_systems_and_optional_ones_need_nothing() {
    let foreign = Object {
        machine: Machine::Aarch64,
        ..object("x/arm.so", needing(&["libarm.so.1"]))
    };
    let musl = object(
        "x/musl.so",
        needing(&["libc.musl-x86_64.so.1", "libx.so.1"]),
    );
    let layer = object(
        "numba/np/ufunc/tbbpool.cpython-311.so",
        needing(&["libtbb.so.12"]),
    );
    let world = World::new("requirements = [\"numba\"]\n").wheel("numba", "0.62", &[]);
    let world = with_libc(world).has("numba", objects([foreign, musl, layer]));
    assert_eq!(found(&world.lint()), [""; 0]);
}

#[test]
fn what_importing_does_not_load_is_one_warning() {
    let world =
        World::new("requirements = [\"opencv-python\"]\n").wheel("opencv-python", "5.0", &[]);
    let module = object("cv2/cv2.abi3.so", needing(&["libQt5Core.so.5"]));
    let core = Dynamic {
        needed: texts(&["libglib-2.0.so.0"]),
        ..named("libQt5Core.so.5")
    };
    let core = object("opencv_python.libs/libQt5Core.so.5", core);
    let plugin = object(
        "cv2/qt/plugins/libqxcb.so",
        needing(&["libxcb.so.1", "libGL.so.1"]),
    );
    let world = with_libc(world).has("opencv-python", objects([module, core, plugin]));
    insta::assert_snapshot!(shown(&world.lint()));
}

#[test]
fn a_wheel_without_modules_is_its_libraries() {
    let world = World::new("requirements = [\"lightgbm\"]\n").wheel("lightgbm", "4.7", &[]);
    let library = object("lightgbm/lib/lib_lightgbm.so", needing(&["libgomp.so.1"]));
    let report = with_libc(world).has("lightgbm", objects([library])).lint();
    assert_eq!(found(&report), ["missing-library libgomp.so.1"]);
    assert_eq!(report.findings[0].severity, kiln_lint::Severity::Error);
}

fn modern(version: &str) -> World {
    let module = Dynamic {
        requires: vec![Required {
            library: "libc.so.6".to_owned(),
            versions: texts(&["GLIBC_2.34", version]),
        }],
        ..needing(&["libc.so.6"])
    };
    let world = World::new("requirements = [\"modern\"]\n").wheel("modern", "3.0", &[]);
    with_libc(world).has("modern", objects([object("modern/_c.so", module)]))
}

#[test]
fn a_symbol_that_is_newer_than_the_base_is_found() {
    insta::assert_snapshot!(shown(&modern("GLIBC_2.39").lint()));
    assert_eq!(found(&modern("GLIBC_2.36").lint()), [""; 0]);
}

#[test]
fn an_image_that_was_not_looked_at_as_a_whole_has_no_findings() {
    let report = opencv(&["libGL.so.1"]).unknown("libc6").lint();
    insta::assert_snapshot!(shown(&report));
}

#[test]
fn where_commands_change_the_image_a_missing_library_is_a_warning() {
    let bundle = "requirements = [\"opencv-python\"]\n[[run]]\ncommand = [\"/bin/true\"]\n";
    let world = World::new(bundle).wheel("opencv-python", "4.12", &[]);
    let module = object("cv2/cv2.abi3.so", needing(&["libGL.so.1"]));
    let report = with_libc(world)
        .has("opencv-python", objects([module]))
        .lint();
    assert_eq!(report.findings[0].severity, kiln_lint::Severity::Warning);
}
