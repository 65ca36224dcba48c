//! Where the files of one download are, as the pages of their projects say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::OnceCell;

use crate::{
    download::{Artifact, Wanted},
    error::FetchError,
    network::{LocatedPage, Network},
};

/// The pages of the projects that a download asks for: each is read once, when the first of its files is
/// looked for, and only the wanted files of it are kept. The pages of a large family list a hundred
/// thousand others, for which it would hold 200 MB until its end.
#[derive(Debug)]
pub(crate) struct Listings {
    /// By source and project.
    projects: BTreeMap<(String, String), Listing>,
}

#[derive(Debug, Default)]
struct Listing {
    wanted: BTreeSet<String>,
    page: OnceCell<LocatedPage>,
}

impl Listings {
    /// Of what is wanted; nothing is read yet.
    pub(crate) fn new(wanted: &[Wanted]) -> Self {
        let mut projects = BTreeMap::<_, Listing>::new();
        for wanted in wanted {
            if let Artifact::Python { project, file } = &wanted.what {
                let listing = projects.entry((wanted.source.clone(), project.clone()));
                listing.or_default().wanted.insert(file.clone());
            }
        }
        Self { projects }
    }

    /// A project's page with its wanted files alone.
    pub(crate) async fn page(
        &self,
        network: &Network,
        source: &str,
        project: &str,
    ) -> Result<LocatedPage, FetchError> {
        let Some(listing) = self.projects.get(&(source.to_owned(), project.to_owned())) else {
            return network.project_page(source, project).await;
        };
        let read = || async {
            let mut page = network.read_project_page(source, project).await?;
            let files = &mut Arc::make_mut(&mut page.page).files;
            files.retain(|file| listing.wanted.contains(&file.name));
            files.shrink_to_fit();
            Ok(page)
        };
        listing.page.get_or_try_init(read).await.cloned()
    }
}
