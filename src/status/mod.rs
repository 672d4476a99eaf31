//! `kclpipe status`: how the shards of a machine stand, from the files that their kclpipes keep.
//!
//! [`directory`] reads the files, [`standing`] judges what is in them at a moment, [`limits`] says which of them
//! is a reason to fail, and [`table`] shows them to a person. [`metrics`] and [`page`] are what `--listen` serves.

pub(crate) mod directory;
pub(crate) mod limits;
pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod standing;
pub(crate) mod table;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use limits::Limits;
pub(crate) use standing::Shard;

/// What a look at the shards needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory of the files: what `--metrics-dir` names.
    pub directory: PathBuf,
    /// The time between two looks; `None` for one look.
    pub watch: Option<Duration>,
    /// Whether the shards are printed as JSON.
    pub json: bool,
    /// What is a reason to fail.
    pub limits: Limits,
    /// Where HTTP is served; `None` for nowhere.
    pub listen: Option<SocketAddr>,
}
