//! Policies: published, retired, and served so that a broken download goes on.

use axum::body::Body;
use axum::http::{Method, Request};
use kudos_schema::{Adapts, PolicyManifest, pack_bundle};

use crate::made::{Made, policy};
use crate::stand::{Answer, Stand, laws};

laws! {
    the_catalog_names_what_is_published_and_where_ratings_go;
    a_published_policy_is_there_on_every_collector_and_after_a_restart;
    a_retired_policy_is_not_in_the_catalog_not_even_after_a_restart;
    what_is_no_bundle_or_another_one_is_refused;
    an_adapter_is_left_out_of_the_site_and_refused_by_name;
    a_bundle_comes_in_parts_and_never_changes;
    files_of_the_page_have_their_kinds_and_are_asked_for_again;
}

async fn put(stand: &Stand, made: &Made) -> Answer {
    stand.admin(Method::PUT, &format!("/v1/policies/{}", made.sha256), made.bytes.clone()).await
}

/// The names in the catalog, the preferred one first.
async fn names(stand: &Stand) -> Vec<String> {
    let catalog = stand.get("/policies/catalog.json").await.json();
    let catalog: kudos_schema::Catalog = serde_json::from_value(catalog).unwrap();
    catalog.policies.into_iter().map(|entry| entry.manifest.name).collect()
}

async fn the_catalog_names_what_is_published_and_where_ratings_go(stand: &Stand) {
    let asked = |header: &'static str| {
        let request = Request::get("/policies/catalog.json").header("host", "kudos.example.org");
        let request = request.header("x-forwarded-proto", header);
        stand.send(request.body(Body::empty()).unwrap())
    };
    let catalog = asked("https").await.json();
    assert_eq!(catalog["collector"], "https://kudos.example.org");
    assert_eq!(asked("http").await.json()["collector"], "http://kudos.example.org");
    let entry = &catalog["policies"][0];
    assert_eq!(entry["sha256"], stand.policy.sha256);
    let bundle = stand.get(&format!("/policies/{}", entry["file"].as_str().unwrap())).await;
    assert_eq!(bundle.bytes, stand.policy.bytes);
    assert_eq!(entry["bytes"], bundle.bytes.len());
}

async fn a_published_policy_is_there_on_every_collector_and_after_a_restart(stand: &Stand) {
    let (twin, made) = (stand.twin().await, policy("better"));
    assert_eq!(names(&twin).await, ["base"]);
    assert_eq!(put(stand, &made).await.status, 201);
    assert_eq!(put(stand, &made).await.status, 200, "once more is no fault");
    assert_eq!(names(stand).await, ["better", "base"]);
    stand.wait(2_000);
    assert_eq!(names(&twin).await, ["better", "base"], "a moment later");
    let other_disk = tempfile::tempdir().unwrap();
    let elsewhere = twin.settings.data.join("bundles");
    std::fs::rename(&elsewhere, other_disk.path().join("bundles")).unwrap();
    std::fs::create_dir_all(&elsewhere).unwrap();
    let path = format!("/policies/{}.kudos", made.sha256);
    assert_eq!(twin.get(&path).await.bytes, made.bytes, "out of the database");
    assert_eq!(names(&stand.twin().await).await, ["better", "base"]);
}

async fn a_retired_policy_is_not_in_the_catalog_not_even_after_a_restart(stand: &Stand) {
    let path = format!("/v1/policies/{}", stand.policy.sha256);
    assert_eq!(stand.admin(Method::DELETE, &path, "").await.status, 204);
    assert!(names(stand).await.is_empty());
    assert!(names(&stand.twin().await).await.is_empty());
    let listed = stand.get("/v1/policies").await.json();
    assert_eq!(listed["policies"][0]["retired"], true);
    assert_eq!(put(stand, &stand.policy).await.status, 200);
    assert_eq!(names(stand).await, ["base"], "it can be published again");
    assert_eq!(stand.admin(Method::DELETE, "/v1/policies/0", "").await.status, 404);
}

async fn what_is_no_bundle_or_another_one_is_refused(stand: &Stand) {
    let made = policy("made");
    let check = async |bytes: Vec<u8>, said: &str| {
        let path = format!("/v1/policies/{}", made.sha256);
        let answer = stand.admin(Method::PUT, &path, bytes).await;
        assert_eq!(answer.status, 400, "{said}");
        assert!(answer.text().contains(said), "{} has {said}", answer.text());
    };
    check(b"GGUF and more".to_vec(), "no policy bundle").await;
    check(policy("another").bytes, "SHA-256 is").await;
    check(made.bytes[..made.bytes.len() - 1].to_vec(), "damaged or missing").await;
    let mut damaged = made.bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    check(damaged, "part model.safetensors").await;
    assert_eq!(names(stand).await, ["base"]);
    let left = std::fs::read_dir(stand.settings.data.join("bundles")).unwrap();
    assert_eq!(left.count(), 0, "nothing is left behind");
}

async fn an_adapter_is_left_out_of_the_site_and_refused_by_name(stand: &Stand) {
    let adapts = Some(Adapts { base: stand.policy.sha256.clone(), scale: 2.0 });
    let manifest = PolicyManifest { name: "small".into(), adapts, ..PolicyManifest::default() };
    let bytes = pack_bundle(manifest, &[]);
    std::fs::write(stand.settings.site.join("policies/a.kudos"), &bytes).unwrap();
    assert_eq!(names(&stand.twin().await).await, ["base"]);
    let path = format!("/v1/policies/{}", "0".repeat(64));
    let answer = stand.admin(Method::PUT, &path, bytes).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("export it without --alone"), "{}", answer.text());
}

async fn a_bundle_comes_in_parts_and_never_changes(stand: &Stand) {
    let path = format!("/policies/{}.kudos", stand.policy.sha256);
    let asked = |name: &'static str, value: String| {
        stand.send(Request::get(&path).header(name, value).body(Body::empty()).unwrap())
    };
    let whole = stand.get(&path).await;
    assert_eq!(whole.headers["cache-control"], "public, max-age=31536000, immutable");
    let tag = whole.headers["etag"].to_str().unwrap().to_owned();
    let part = asked("range", "bytes=64-127".to_owned()).await;
    assert_eq!((part.status.as_u16(), &part.bytes[..]), (206, &stand.policy.bytes[64..128]));
    assert_eq!(part.headers["content-range"], format!("bytes 64-127/{}", whole.bytes.len()));
    assert_eq!(asked("range", "bytes=99999999-".to_owned()).await.status, 416);
    assert_eq!(asked("if-none-match", tag).await.status, 304);
}

async fn files_of_the_page_have_their_kinds_and_are_asked_for_again(stand: &Stand) {
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/page_bg.wasm", "application/wasm"),
    ] {
        let answer = stand.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["content-type"]),
            (200, &kind.parse().unwrap())
        );
        assert_eq!(answer.headers["cache-control"], "no-cache", "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval'"), "{policy}");
        let tag = answer.headers["etag"].clone();
        let again = Request::get(path).header("if-none-match", tag).body(Body::empty()).unwrap();
        assert_eq!(stand.send(again).await.status, 304, "{path}");
    }
    let zipped = Request::get("/page.js").header("accept-encoding", "gzip").body(Body::empty());
    let zipped = stand.send(zipped.unwrap()).await;
    assert_eq!(zipped.headers["content-encoding"], "gzip");
    assert!(zipped.bytes.len() < 1000, "{}", zipped.bytes.len());
}
