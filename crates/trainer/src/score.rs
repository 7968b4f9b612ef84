//! stub
#[derive(Debug, Clone, clap::Args)]
pub struct ScoreArgs {}
pub fn print(_: &ScoreArgs) -> anyhow::Result<()> { Ok(()) }
