//! From what was typed to what can only be right.

use std::path::PathBuf;
use std::time::Duration;

use crate::args::{DataArgs, ServeArgs};
use crate::database::Address;
use crate::limits::Rate;
use crate::settings::{Log, Sender, Settings};
use crate::usage::Usage;

const SECONDS_A_DAY: u64 = 86_400;

/// The data folder and the database.
///
/// # Errors
/// There is none, or the URL is of no known kind.
pub fn place(place: &DataArgs, environment: Option<String>) -> Result<(PathBuf, Address), Usage> {
    let url = place.database.clone().or(environment);
    let data = match (&place.data, &url) {
        (Some(data), _) => data.clone(),
        // Without a folder of its own, copies of bundles lie where such things go.
        (None, Some(_)) => std::env::temp_dir().join("kudos-collector"),
        (None, None) => {
            return Err(Usage(
                "where is the data? Name a folder with --data DIR, or a PostgreSQL with --database URL"
                    .to_owned(),
            ));
        }
    };
    let address = Address::of(&data, url.as_deref()).map_err(Usage)?;
    Ok((data, address))
}

/// How to serve.
///
/// # Errors
/// Something is missing or out of its range.
pub fn settings(args: &ServeArgs, environment: Option<String>) -> Result<Settings, Usage> {
    let missing = "where is the page? Name the folder of the built page with --site DIR";
    let site = args.site.clone().ok_or_else(|| Usage(missing.to_owned()))?;
    let (data, database) = place(&args.place, environment)?;
    let public_url =
        args.public_url.as_deref().map(|url| address("--public-url", url)).transpose()?;
    let origins = args.origins.iter().map(|url| {
        let origin = address("--origin", url)?;
        match origin.splitn(4, '/').nth(3) {
            None => Ok(origin),
            Some(_) => Err(Usage(format!("--origin {url} has a path: leave it out"))),
        }
    });
    let origins = origins.collect::<Result<_, _>>()?;
    let rate = |name: &str, number: u32| match number {
        0 => Err(Usage(format!("--{name} 0 takes no ratings at all: give a number from 1 on"))),
        number => {
            let per_minute = f64::from(number);
            // A whole batch must pass at once.
            Ok(Rate { per_minute, burst: (2.0 * per_minute).max(kudos_schema::MAX_BATCH as f64) })
        }
    };
    let retention = match args.retention_days {
        Some(0) => {
            return Err(Usage(
                "--retention-days 0 keeps nothing: give a number from 1 on".to_owned(),
            ));
        }
        days => days.map(|days| Duration::from_secs(u64::from(days) * SECONDS_A_DAY)),
    };
    Ok(Settings {
        public_url,
        origins,
        sender: if args.behind_proxy { Sender::Forwarded } else { Sender::Peer },
        address_rate: rate("address-rate", args.address_rate)?,
        rater_rate: rate("rater-rate", args.rater_rate)?,
        retention,
        query_seed: args.query_seed,
        max_bundle_bytes: args.max_bundle_bytes,
        log: Log::Answers,
        ..Settings::new(site, data, database)
    })
}

/// An address as it stands in a browser, without a slash at its end.
fn address(option: &str, url: &str) -> Result<String, Usage> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let plain = |it: char| it.is_ascii_alphanumeric() || ".-:[]".contains(it);
    if host.is_empty() || !host.chars().all(plain) || url.contains(['?', '#', ' ']) {
        let message =
            format!("{option} {url} is no address: give one such as https://kudos.example.org");
        return Err(Usage(message));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::Parser;

    fn check(words: &str) -> Result<Settings, Usage> {
        let words = ["collector"].into_iter().chain(words.split_whitespace());
        settings(&Cli::try_parse_from(words).unwrap().serve, None)
    }

    #[test]
    fn what_is_wrong_is_named_with_the_remedy() {
        for (words, said) in [
            ("--data d", "--site DIR"),
            ("--site s", "--data DIR"),
            ("--site s --database mysql://x", "postgres://USER"),
            ("--site s --data d --public-url example.org", "https://kudos.example.org"),
            ("--site s --data d --origin https://a.org/b", "leave it out"),
            ("--site s --data d --address-rate 0", "--address-rate 0"),
            ("--site s --data d --retention-days 0", "--retention-days 0"),
        ] {
            let error = check(words).unwrap_err().to_string();
            assert!(error.contains(said), "{words}: {error}");
        }
    }

    #[test]
    fn what_is_right_is_taken_as_meant() {
        let settings = check(
            "--site s --data d --public-url https://a.org/kudos/ --origin https://b.org --behind-proxy",
        )
        .unwrap();
        assert_eq!(settings.public_url.as_deref(), Some("https://a.org/kudos"));
        assert_eq!(settings.origins, ["https://b.org"]);
        assert_eq!(settings.sender, Sender::Forwarded);
        assert_eq!(settings.database, Address::Sqlite("d/kudos.db".into()));
    }
}
