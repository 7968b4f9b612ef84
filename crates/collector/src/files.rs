//! What is served as files: the page, the catalog, the bundles. With ranges, so that a broken download goes on.

use std::ops::Range;
use std::path::Path;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path as FromPath, State as FromState};
use axum::http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, VARY,
};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use kudos_schema::{Catalog, CatalogEntry};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};

use crate::headers;
use crate::origin::own_address;
use crate::problem::Problem;
use crate::site::{Asset, BUNDLE_TYPE};
use crate::state::State;

/// Bytes that are read at once.
const PIECE: u64 = 1 << 16;
/// The name of a file never means another content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// A file is asked for again, and is not sent again as long as it is the same.
const ASK_AGAIN: &str = "no-cache";

/// A file of the page.
pub(crate) async fn page(
    FromState(state): FromState<State>,
    uri: Uri,
    asked: HeaderMap,
) -> Response {
    match state.site.get(uri.path().trim_start_matches('/')) {
        Some(asset) => send_asset(asset, &asked),
        None => Problem::not_found("there is nothing at this address").into_response(),
    }
}

/// `policies/catalog.json`: what visitors can load, and that ratings come here.
pub(crate) async fn catalog(
    FromState(state): FromState<State>,
    asked: HeaderMap,
) -> Result<Response, Problem> {
    let published = state.shelf.published(state.clock.now_ms()).await?;
    let policies = published.into_iter().map(|policy| CatalogEntry {
        file: format!("{}.kudos", policy.sha256),
        bytes: policy.bytes,
        sha256: policy.sha256,
        manifest: policy.manifest,
    });
    let collector = own_address(&asked, &state.settings);
    let catalog = Catalog { collector, policies: policies.collect() };
    Ok(([(CACHE_CONTROL, ASK_AGAIN)], Json(catalog)).into_response())
}

/// The bundle of a policy by its hash, or a bundle that came with the page by its name.
pub(crate) async fn bundle(
    FromState(state): FromState<State>,
    FromPath(name): FromPath<String>,
    asked: HeaderMap,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("there is no such policy: see policies/catalog.json");
    let stem = name.strip_suffix(".kudos").ok_or_else(missing)?;
    let list = state.shelf.list(state.clock.now_ms()).await?;
    if list.iter().any(|policy| policy.sha256 == stem) {
        let path = state.shelf.bundle(stem).await?;
        return send_file(&path, &format!("\"{stem}\""), &asked).await.map_err(|_| missing());
    }
    let plain = stem.chars().all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it));
    if !plain || stem.starts_with('.') {
        return Err(missing());
    }
    let path = state.site.policies.join(&name);
    let mut response = send_file(&path, "", &asked).await.map_err(|_| missing())?;
    response.headers_mut().remove(ETAG);
    response.headers_mut().insert(CACHE_CONTROL, ASK_AGAIN.parse().expect("plain ASCII"));
    Ok(response)
}

fn send_asset(asset: &Asset, asked: &HeaderMap) -> Response {
    let policy = (CONTENT_SECURITY_POLICY, headers::PAGE.to_owned());
    let common = [
        policy,
        (CONTENT_TYPE, asset.kind.to_owned()),
        (CACHE_CONTROL, ASK_AGAIN.to_owned()),
        (ETAG, asset.tag.clone()),
        (VARY, "accept-encoding".to_owned()),
        (ACCEPT_RANGES, "bytes".to_owned()),
    ];
    if has(asked, IF_NONE_MATCH, &asset.tag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let whole = asset.bytes.len() as u64;
    match range(asked, &asset.tag, whole) {
        Ok(Some(range)) => {
            let part = asset.bytes.slice(range.start as usize..range.end as usize);
            (StatusCode::PARTIAL_CONTENT, common, [content_range(&range, whole)], part)
                .into_response()
        }
        Err(()) => unsatisfiable(whole),
        Ok(None) => match &asset.gzip {
            Some(gzip) if takes_gzip(asked) => {
                (common, [(CONTENT_ENCODING, "gzip")], gzip.clone()).into_response()
            }
            Some(_) | None => (common, asset.bytes.clone()).into_response(),
        },
    }
}

async fn send_file(path: &Path, tag: &str, asked: &HeaderMap) -> std::io::Result<Response> {
    let mut file = File::open(path).await?;
    let whole = file.metadata().await?.len();
    let common = [
        (CONTENT_TYPE, BUNDLE_TYPE),
        (CACHE_CONTROL, FOR_EVER),
        (ETAG, tag),
        (ACCEPT_RANGES, "bytes"),
    ];
    if has(asked, IF_NONE_MATCH, tag) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let (status, range, extra) = match range(asked, tag, whole) {
        Err(()) => return Ok(unsatisfiable(whole)),
        Ok(None) => (StatusCode::OK, 0..whole, None),
        Ok(Some(range)) => {
            let extra = content_range(&range, whole);
            (StatusCode::PARTIAL_CONTENT, range, Some(extra))
        }
    };
    file.seek(SeekFrom::Start(range.start)).await?;
    let length = range.end - range.start;
    let body = Body::from_stream(stream::try_unfold((file, length), next_piece));
    let length = [(CONTENT_LENGTH, length.to_string())];
    let mut response = (status, common, length, body).into_response();
    if let Some((name, value)) = extra {
        response.headers_mut().insert(name, value.parse().expect("plain ASCII"));
    }
    Ok(response)
}

async fn next_piece(
    (mut file, left): (File, u64),
) -> std::io::Result<Option<(Bytes, (File, u64))>> {
    if left == 0 {
        return Ok(None);
    }
    let mut piece = vec![0; left.min(PIECE) as usize];
    let length = file.read(&mut piece).await?;
    if length == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    piece.truncate(length);
    Ok(Some((piece.into(), (file, left - length as u64))))
}

fn content_range(range: &Range<u64>, whole: u64) -> (HeaderName, String) {
    (CONTENT_RANGE, format!("bytes {}-{}/{whole}", range.start, range.end - 1))
}

fn unsatisfiable(whole: u64) -> Response {
    let header = [(CONTENT_RANGE, format!("bytes */{whole}"))];
    (StatusCode::RANGE_NOT_SATISFIABLE, header).into_response()
}

fn has(asked: &HeaderMap, name: HeaderName, tag: &str) -> bool {
    let Some(value) = asked.get(name).and_then(|value| value.to_str().ok()) else { return false };
    !tag.is_empty() && value.split(',').any(|it| it.trim().trim_start_matches("W/") == tag)
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    let Some(value) = asked.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let mut codings = value.split(',').map(|coding| coding.split(';').map(str::trim));
    codings.any(|mut parts| {
        parts.next() == Some("gzip") && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0"))
    })
}

/// The bytes that are asked for: none = all of them. Several ranges at once are answered with all.
///
/// # Errors
/// There are no such bytes.
fn range(asked: &HeaderMap, tag: &str, whole: u64) -> Result<Option<Range<u64>>, ()> {
    // Of another version of the file, parts are of no use.
    if asked.contains_key(IF_RANGE) && !has(asked, IF_RANGE, tag) {
        return Ok(None);
    }
    let Some(text) = asked.get(RANGE).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|it| it.split_once('-')) else {
        return Ok(None);
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(whole),
        (Some(first), None) if last.trim().is_empty() => first..whole,
        (None, Some(last)) if first.trim().is_empty() => whole.saturating_sub(last)..whole,
        _ => return Ok(None),
    };
    if range.start < range.end { Ok(Some(range)) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_gives_the_bytes_that_http_says() {
        let check = |text: &str, expected| {
            let mut asked = HeaderMap::new();
            asked.insert(RANGE, text.parse().unwrap());
            assert_eq!(range(&asked, "\"a\"", 10), expected, "{text}");
            asked.insert(IF_RANGE, "\"b\"".parse().unwrap());
            assert_eq!(range(&asked, "\"a\"", 10), Ok(None), "{text} of another version");
        };
        check("bytes=0-3", Ok(Some(0..4)));
        check("bytes=4-", Ok(Some(4..10)));
        check("bytes=-3", Ok(Some(7..10)));
        check("bytes=-30", Ok(Some(0..10)));
        check("bytes=4-99999999999999999999", Ok(None));
        check("bytes=4-18446744073709551615", Ok(Some(4..10)));
        check("bytes=10-", Err(()));
        check("bytes=-0", Err(()));
        check("bytes=5-4", Ok(None));
        check("bytes=0-1,4-5", Ok(None));
        check("lines=0-3", Ok(None));
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let check = |text: &str, expected| {
            let mut asked = HeaderMap::new();
            asked.insert(ACCEPT_ENCODING, text.parse().unwrap());
            assert_eq!(takes_gzip(&asked), expected, "{text}");
        };
        check("gzip, deflate, br", true);
        check("br;q=1, gzip;q=0.5", true);
        check("gzip;q=0, br", false);
        check("identity", false);
    }
}
