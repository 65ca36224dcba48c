//! Which images a person means by a part of a name.

use std::fmt::Write as _;

use globset::GlobBuilder;

use crate::{
    error::nearest,
    model::{Combination, Family},
};

/// An image that may be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its full name; without a date where it has none yet.
    pub name: String,
    /// The base's name.
    pub base: String,
    /// The accelerator's name.
    pub accelerator: String,
    /// The bundle's name.
    pub bundle: String,
    /// The IDE's name.
    pub ide: String,
}

/// Why it is not clear which image is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No image has a name like this.
    #[error("no image is named `{part}`")]
    Unknown {
        /// What was asked for.
        part: String,
        /// The nearest name, where one is near.
        nearest: Option<String>,
        /// The names of all images.
        all: Vec<String>,
    },
    /// Several images have.
    #[error("`{part}` may mean {} images", candidates.len())]
    Ambiguous {
        /// What was asked for.
        part: String,
        /// Their names.
        candidates: Vec<String>,
    },
    /// A glob that is none.
    #[error("`{part}` is not a glob: {message}")]
    Glob {
        /// What was asked for.
        part: String,
        /// What is wrong with it.
        message: String,
    },
}

/// How many names a hint lists.
const LISTED: usize = 12;

impl SelectError {
    /// What a newcomer can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown {
                nearest: Some(near),
                ..
            } => Some(format!("did you mean `{near}`?")),
            Self::Unknown { all, .. } if all.is_empty() => None,
            Self::Unknown { all, .. } => Some(format!("the images are{}", list(all))),
            Self::Ambiguous { candidates, .. } => Some(format!(
                "say more of the name, or `*` for several:{}",
                list(candidates)
            )),
            Self::Glob { .. } => Some(
                "`*` means any text, `?` any character, `[ab]` one of some: as in \
                 `jupyter-*-py311`"
                    .to_owned(),
            ),
        }
    }
}

fn list(names: &[String]) -> String {
    let mut text = String::new();
    for name in names.iter().take(LISTED) {
        let _ = write!(text, "\n  {name}");
    }
    if names.len() > LISTED {
        let _ = write!(text, "\n  … and {} more", names.len() - LISTED);
    }
    text
}

impl Candidate {
    /// The images of a family, with names that lack the date, as only a lock knows dates.
    pub fn of_family(family: &Family) -> Vec<Self> {
        let candidate = |image: &Combination| {
            let name = family.image_name(image, "")?;
            let name = family
                .pattern
                .render(&name)
                .trim_end_matches(['-', '_'])
                .to_owned();
            let Combination {
                base,
                accelerator,
                bundle,
                ide,
                ..
            } = image.clone();
            Some(Self {
                name,
                base,
                accelerator,
                bundle,
                ide,
            })
        };
        family.images.iter().filter_map(candidate).collect()
    }

    /// What makes it one image: candidates that share this differ in the platform alone.
    fn identity(&self) -> (&str, &str, &str, &str) {
        (&self.base, &self.accelerator, &self.bundle, &self.ide)
    }

    /// The name without its release and date: what the builds of an image have in common.
    pub fn stem(&self) -> &str {
        let mut ends = self.name.rmatch_indices(['-', '_']).map(|(at, _)| at);
        ends.nth(1)
            .map_or(self.name.as_str(), |end| &self.name[..end])
    }

    fn words(&self) -> Vec<&str> {
        self.name.split(['-', '_']).collect()
    }
}

/// Whether a part of a name is a glob, which may mean several images.
pub fn is_glob(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

/// The images, as indices in order, that `part` means. The first of these rules that finds any
/// decides:
///
/// 1. the full name;
/// 2. with `*`, `?` or `[`: a glob over the whole name, or the name without its last two parts
///    (`*-datascience-*` and `jupyter-*-py311`); it may mean several images;
/// 3. the first parts of the name, whole: `jupyter-datascience`;
/// 4. some parts of the name, whole and in order: `minimal-py313`;
/// 5. any stretch of the name.
///
/// Where rules 3 to 5 find several images that differ in the base alone, the one on `default_base`
/// is meant; otherwise the part is ambiguous.
pub fn select(
    images: &[Candidate],
    part: &str,
    default_base: Option<&str>,
) -> Result<Vec<usize>, SelectError> {
    let matching = |test: &dyn Fn(&Candidate) -> bool| -> Vec<usize> {
        (0..images.len())
            .filter(|index| test(&images[*index]))
            .collect()
    };
    let exact = matching(&|image| image.name == part);
    if !exact.is_empty() {
        return Ok(exact);
    }
    let unknown = || SelectError::Unknown {
        part: part.to_owned(),
        nearest: nearest_image(images, part),
        all: names(images, 0..images.len()),
    };
    if part.is_empty() {
        return Err(unknown());
    }
    if is_glob(part) {
        let glob = GlobBuilder::new(part)
            .literal_separator(false)
            .build()
            .map_err(|error| SelectError::Glob {
                part: part.to_owned(),
                message: error.kind().to_string(),
            })?;
        let glob = glob.compile_matcher();
        let found = matching(&|image| glob.is_match(&image.name) || glob.is_match(image.stem()));
        return if found.is_empty() {
            Err(unknown())
        } else {
            Ok(found)
        };
    }
    let words: Vec<&str> = part.split(['-', '_']).collect();
    let rules: [&dyn Fn(&Candidate) -> bool; 3] = [
        &|image| image.words().starts_with(&words),
        &|image| is_subsequence(&words, &image.words()),
        &|image| image.name.contains(part),
    ];
    let found = rules
        .into_iter()
        .map(matching)
        .find(|found| !found.is_empty())
        .ok_or_else(unknown)?;
    unambiguous(images, found, default_base).map_err(|found| SelectError::Ambiguous {
        part: part.to_owned(),
        candidates: names(images, found),
    })
}

/// One image of those found, with all its platforms; the error gives back what was found.
fn unambiguous(
    images: &[Candidate],
    found: Vec<usize>,
    default_base: Option<&str>,
) -> Result<Vec<usize>, Vec<usize>> {
    let first = &images[found[0]];
    if found
        .iter()
        .all(|index| images[*index].identity() == first.identity())
    {
        return Ok(found);
    }
    let but_base = |image: &Candidate| {
        (
            image.accelerator.clone(),
            image.bundle.clone(),
            image.ide.clone(),
        )
    };
    let same_but_base = found
        .iter()
        .all(|index| but_base(&images[*index]) == but_base(first));
    let on_default: Vec<usize> = found
        .iter()
        .copied()
        .filter(|index| default_base == Some(images[*index].base.as_str()))
        .collect();
    if same_but_base && !on_default.is_empty() {
        Ok(on_default)
    } else {
        Err(found)
    }
}

fn is_subsequence(words: &[&str], of: &[&str]) -> bool {
    let mut of = of.iter();
    words
        .iter()
        .all(|word| of.any(|candidate| candidate == word))
}

fn names(images: &[Candidate], indices: impl IntoIterator<Item = usize>) -> Vec<String> {
    let mut names: Vec<_> = indices
        .into_iter()
        .map(|index| images[index].name.clone())
        .collect();
    names.dedup();
    names
}

/// The name that was probably meant: near as a whole, or near in as many first parts as were said.
fn nearest_image(images: &[Candidate], part: &str) -> Option<String> {
    if part.is_empty() {
        return None;
    }
    let said = part.split(['-', '_']).count();
    let shortened: Vec<String> = images
        .iter()
        .map(|image| image.words()[..said.min(image.words().len())].join("-"))
        .collect();
    let all = shortened.iter().map(String::as_str);
    nearest(
        part,
        all.chain(images.iter().map(|image| image.name.as_str())),
    )
    .map(str::to_owned)
}
