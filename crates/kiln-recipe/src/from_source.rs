//! `[from-source.NAME]`: projects that may be built from their source distribution.

use std::{collections::BTreeMap, str::FromStr};

use crate::{
    component::{os_packages, requirements, variable},
    model::FromSource,
    reader::Table,
    source::Spot,
};

/// Reads the tables. Gives where each project stands.
pub(crate) fn read(
    table: &mut Table<'_>,
    projects: &mut BTreeMap<String, FromSource>,
) -> BTreeMap<String, Spot> {
    let mut spots: BTreeMap<String, Spot> = BTreeMap::new();
    for (name, mut table) in table.named_tables("from-source") {
        let spot = name.source.spot(&name.span);
        let os_packages = os_packages(&mut table);
        let requirements = requirements(&mut table);
        let mut env = BTreeMap::new();
        for (name, value) in table.pairs("env") {
            if variable(&name) {
                env.insert(name.value, value.value);
            }
        }
        table.finish();
        let Ok(project) = pep508_rs::PackageName::from_str(&name.value) else {
            name.error(
                format!("`{}` is not the name of a Python project", name.value),
                Some("letters, digits, `.`, `_` and `-`, such as `pyspark`".to_owned()),
            );
            continue;
        };
        let project = project.to_string();
        if let Some(first) = spots.get(&project) {
            name.error(
                format!(
                    "`{project}` has two tables: names are compared without case, `-`, `_` and `.`"
                ),
                Some(format!(
                    "the other stands in line {}: keep one",
                    first.at.line
                )),
            );
            continue;
        }
        let at = spot.at.clone();
        spots.insert(project.clone(), spot);
        projects.insert(
            project,
            FromSource {
                os_packages,
                requirements,
                env,
                at,
            },
        );
    }
    spots
}
