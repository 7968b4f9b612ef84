//! The verbs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::token;
use crate::args::{Cli, DataArgs, ServeArgs, TokenVerb, Verb};
use crate::clock::{Clock, rfc3339};
use crate::coins::Coins;
use crate::database::{Address, Database, copy};
use crate::serve::{Patience, serve};
use crate::state::{StartError, State};
use crate::usage::Usage;
use crate::{app, load, output, plan, retention};

/// Does what was typed.
///
/// # Errors
/// What was typed is wrong ([`Usage`]), or the run failed.
pub async fn run(cli: Cli) -> Result<()> {
    match cli.verb {
        None => serve_until_stopped(&cli.serve).await,
        Some(Verb::Token(args)) => tokens(args.verb).await,
        Some(Verb::Backup { place, file }) => {
            let database = open(&place).await?;
            copy::backup(&database, &file).await?;
            database.close().await;
            output::say(&format!("{} holds everything", file.display()));
            Ok(())
        }
        Some(Verb::Restore { data, file }) => restore(&data, &file).await,
        Some(Verb::Copy { from, to }) => {
            let [from, to] = [from, to].map(|url| Address::from_url(&url).map_err(Usage));
            let from = existing(from?)?;
            let (from, to) = (Database::open(&from).await?, Database::open(&to?).await?);
            let ratings = copy::copy(&from, &to).await?;
            // An embedded database is one file again.
            from.close().await;
            to.close().await;
            output::say(&format!("copied {ratings} ratings and everything else"));
            Ok(())
        }
        Some(Verb::Load(args)) => load::run(&args).await,
    }
}

async fn serve_until_stopped(args: &ServeArgs) -> Result<()> {
    let settings = plan::settings(args, environment())?;
    let coins = Coins::of_this_machine().context("the system gives no random bytes")?;
    let state = State::open(settings, Clock::of_this_machine(), coins).await;
    let state = state.map_err(|error| match error {
        StartError::Site(_) | StartError::Bundle { .. } | StartError::Folder { .. } => {
            anyhow::Error::new(Usage(error.to_string()))
        }
        StartError::Database(_) => error.into(),
    })?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| {
        format!("cannot listen at {}: choose another with --listen", args.listen)
    })?;
    let mut stop = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    output::say(&format!("listening at http://{}", listener.local_addr()?));
    let erasing = tokio::spawn(retention::keep_erasing(state.clone()));
    let stopped = {
        let state = state.clone();
        async move {
            tokio::select! {
                _ = stop.recv() => {}
                _ = interrupt.recv() => {}
            }
            state.announce_stop();
        }
    };
    serve(listener, app(state.clone()), Patience::default(), stopped).await?;
    erasing.abort();
    state.close().await;
    output::say("stopped; everything that was accepted is stored");
    Ok(())
}

async fn tokens(verb: TokenVerb) -> Result<()> {
    let now_ms = Clock::of_this_machine().now_ms();
    match verb {
        TokenVerb::Add { place, name } => {
            let coins = Coins::of_this_machine().context("the system gives no random bytes")?;
            let database = open(&place).await?;
            output::say(&token::create(&database, &coins, &name, now_ms).await?);
            database.close().await;
            output::complain("keep it: it cannot be shown again");
        }
        TokenVerb::List { place } => {
            for entry in token::list(&open(&place).await?).await? {
                let made = rfc3339(entry.created_ms);
                output::say(&format!("{}  {made}  {}", entry.id, entry.name));
            }
        }
        TokenVerb::Revoke { place, id } => {
            if !token::revoke(&open(&place).await?, &id, now_ms).await? {
                return Err(
                    Usage(format!("there is no token {id}: see `collector token list`")).into()
                );
            }
            output::say(&format!("token {id} is worthless now"));
        }
    }
    Ok(())
}

async fn restore(data: &Path, file: &Path) -> Result<()> {
    let address = Address::of(data, None).map_err(Usage)?;
    let Address::Sqlite(target) = &address else { unreachable!("without a URL it is a file") };
    if !file.is_file() {
        return Err(Usage(format!("there is no backup {}", file.display())).into());
    }
    if target.exists() {
        let message = format!("{} exists: name a new folder with --data", target.display());
        return Err(Usage(message).into());
    }
    fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    fs::copy(file, target).with_context(|| format!("cannot write {}", target.display()))?;
    let database = Database::open(&address).await.context("the file is no backup")?;
    database.ping().await?;
    database.close().await;
    output::say(&format!("{} is as it was at the backup", data.display()));
    Ok(())
}

async fn open(place: &DataArgs) -> Result<Database> {
    let (data, address) = plan::place(place, environment())?;
    if matches!(address, Address::Sqlite(_)) {
        fs::create_dir_all(&data).map_err(|error| {
            Usage(format!("{} cannot be used ({error}): name another folder", data.display()))
        })?;
    }
    Ok(Database::open(&address).await?)
}

/// A database to read from: a file must be there, else an empty one would be made.
fn existing(address: Address) -> Result<Address, Usage> {
    match &address {
        Address::Sqlite(path) if !path.is_file() => {
            Err(Usage(format!("there is no database {}", path.display())))
        }
        Address::Sqlite(_) | Address::Postgres(_) => Ok(address),
    }
}

/// The database's URL where only its owner can see it.
fn environment() -> Option<String> {
    std::env::var("KUDOS_DATABASE").ok().filter(|url| !url.is_empty())
}
