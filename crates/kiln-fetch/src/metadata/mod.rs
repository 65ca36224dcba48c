//! `METADATA` of wheels, without fetching whole wheels where that can be avoided.
use crate::{error::FetchError, fetcher::Network, page::ProjectFile};
pub(crate) async fn read(_network: &Network, _file: &ProjectFile) -> Result<String, FetchError> { Err(FetchError::Cancelled) }
