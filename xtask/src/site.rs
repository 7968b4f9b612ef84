//! `cargo xtask site`: the last step of a page's build, started by trunk. Adds the policies with their
//! catalog, allows the collector in the Content-Security-Policy, and writes the service worker with the
//! hashes of everything that is served.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kudos_schema::{Catalog, CatalogEntry, hexadecimal, read_manifest};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::terminal;
use crate::workspace::{Workspace, list};

/// The policies, in the checkout and on the site.
const POLICIES: &str = "policies";
const CATALOG: &str = "catalog.json";
/// What a visitor gets, where it is there.
const FIRST: &str = "talk.kudos";
const SERVICE_WORKER: &str = "sw.js";
/// What stands in the service worker for the list of files.
const NO_FILES: &str = r#"{ version: "", first: {}, later: {} }"#;
/// What stands in index.html for the hosts that the page may talk to.
const OWN_HOST_ONLY: &str = "connect-src 'self'";
/// Names of files that are fetched only where they are of use begin so.
const LATER: &str = "engine-gpu";

/// What the service worker is told.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Files {
    /// Hash over everything below.
    version: String,
    /// SHA-256 of each file that a first visit fetches; empty where a host may change the file.
    first: BTreeMap<String, String>,
    /// SHA-256 of each file that is fetched when it is needed.
    later: BTreeMap<String, String>,
}

/// Finishes the site in `folder`, else in the one that trunk names in `TRUNK_STAGING_DIR`. Ratings go to
/// the collector at `KUDOS_COLLECTOR`, if that is set.
///
/// # Errors
/// The folder holds no page, a policy is no bundle, or the collector's address is none.
pub(crate) fn run(workspace: &Workspace, folder: Option<&str>) -> Result<()> {
    let folder =
        folder.map(PathBuf::from).or_else(|| env::var_os("TRUNK_STAGING_DIR").map(Into::into));
    let folder = folder.context("name the folder of the page: `cargo xtask site FOLDER`")?;
    let collector = env::var("KUDOS_COLLECTOR").ok().filter(|url| !url.is_empty());
    if let Some(url) = &collector {
        allow_collector(&folder.join("index.html"), url)?;
    }
    let catalog = add_policies(&workspace.root.join(POLICIES), &folder, collector)?;
    if catalog.policies.is_empty() {
        terminal::complain("no policies/*.kudos: visitors can only open bundles of their own");
    }
    let template = workspace.root.join("web/static").join(SERVICE_WORKER);
    write(&folder.join(SERVICE_WORKER), &service_worker(&read_text(&template)?, &files(&folder)?)?)
}

/// Copies the bundles of `from`, and writes the catalog beside them: in the order of their file names behind [`FIRST`],
/// since the first is what a visitor gets.
fn add_policies(from: &Path, folder: &Path, collector: Option<String>) -> Result<Catalog> {
    let target = folder.join(POLICIES);
    fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    let mut catalog = Catalog { collector, policies: Vec::new() };
    let mut paths = list(from)?;
    paths.sort_by_key(|path| !path.ends_with(FIRST));
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".kudos") {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest = read_manifest(&bytes).with_context(|| path.display().to_string())?;
        write(&target.join(&name), &bytes)?;
        let (bytes, sha256) = (bytes.len() as u64, sha256(&bytes));
        catalog.policies.push(CatalogEntry { file: name, bytes, sha256, manifest });
    }
    catalog.policies = below_their_bases(catalog.policies)?;
    write(&target.join(CATALOG), &serde_json::to_vec(&catalog)?)?;
    Ok(catalog)
}

/// Whole policies as they stand, each with its adapters behind it.
fn below_their_bases(policies: Vec<CatalogEntry>) -> Result<Vec<CatalogEntry>> {
    let (whole, adapters): (Vec<_>, Vec<_>) =
        policies.into_iter().partition(|entry| entry.manifest.adapts.is_none());
    let mut ordered = Vec::new();
    for base in whole {
        let own = |entry: &&CatalogEntry| entry.manifest.base() == Some(&base.sha256);
        let behind: Vec<_> = adapters.iter().filter(own).cloned().collect();
        ordered.push(base);
        ordered.extend(behind);
    }
    match adapters.iter().find(|entry| !ordered.contains(entry)) {
        Some(CatalogEntry { file, manifest, .. }) => {
            let base = manifest.base().unwrap_or_default();
            bail!("{file} is an adapter of the bundle {base}, which is not in {POLICIES}: add it")
        }
        None => Ok(ordered),
    }
}

/// Lets the page talk to the collector's host, if that is another one.
fn allow_collector(index: &Path, url: &str) -> Result<()> {
    let Some(origin) = origin(url)? else { return Ok(()) };
    let html = read_text(index)?;
    let allowed = html.replacen(OWN_HOST_ONLY, &format!("{OWN_HOST_ONLY} {origin}"), 1);
    if allowed == html {
        bail!("{} has no `{OWN_HOST_ONLY}` in its Content-Security-Policy", index.display());
    }
    write(index, allowed.as_bytes())
}

/// Scheme and host of an address; none where it is relative to the page.
fn origin(url: &str) -> Result<Option<&str>> {
    let Some((scheme, rest)) = url.split_once("://") else { return Ok(None) };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let plain = host.chars().all(|it| it.is_ascii_alphanumeric() || ".-:[]".contains(it));
    if !matches!(scheme, "http" | "https") || host.is_empty() || !plain {
        bail!("KUDOS_COLLECTOR is `{url}`: give an address such as https://kudos.example.org");
    }
    Ok(Some(&url[..scheme.len() + "://".len() + host.len()]))
}

/// Everything served but the policies, which the page keeps by itself, and the service worker.
fn files(folder: &Path) -> Result<Files> {
    let mut files = Files::default();
    let mut version = Sha256::new();
    for path in list_all(folder)? {
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if name == SERVICE_WORKER || name.starts_with(&format!("{POLICIES}/")) {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let sha256 = sha256(&bytes);
        version.update(format!("{name} {sha256}\n"));
        if name == "index.html" {
            // Some hosts answer for this name only with a redirect, and some add to the page.
            files.first.insert("./".to_owned(), String::new());
        } else if name.starts_with(LATER) {
            files.later.insert(name, sha256);
        } else {
            files.first.insert(name, sha256);
        }
    }
    if !files.first.contains_key("./") {
        bail!("{} has no index.html: run `trunk build`", folder.display());
    }
    files.version = hexadecimal(&version.finalize())[..16].to_owned();
    Ok(files)
}

fn service_worker(template: &str, files: &Files) -> Result<Vec<u8>> {
    if template.matches(NO_FILES).count() != 1 {
        bail!("the service worker must have `{NO_FILES}` once, where its files are listed");
    }
    Ok(template.replace(NO_FILES, &serde_json::to_string(files)?).into_bytes())
}

/// The files in a folder and in the folders inside.
fn list_all(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in list(folder)? {
        if path.is_dir() {
            files.extend(list_all(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use kudos_schema::{Adapts, PolicyManifest, pack_bundle};
    use tempfile::TempDir;

    use super::*;

    const PAGE: &str =
        "<meta content=\"default-src 'self'; connect-src 'self'; worker-src 'self'\">";

    /// A checkout with two policies and the page that trunk staged.
    fn staged() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str, content: &[u8]| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        for name in ["small", "base"] {
            let manifest = PolicyManifest { name: name.into(), ..PolicyManifest::default() };
            let bundle = pack_bundle(manifest, &[("weights", "0".repeat(64), &b"1234"[..])]);
            place(&format!("policies/{name}.kudos"), &bundle);
        }
        place("policies/README.md", b"not a policy");
        place("web/static/sw.js", format!("const SITE = {NO_FILES};\n").as_bytes());
        for name in ["page.js", "engine-cpu.js", "engine-gpu.js", "snippets/a/b.js"] {
            place(&format!("stage/{name}"), name.as_bytes());
        }
        place("stage/index.html", PAGE.as_bytes());
        root
    }

    fn check(root: &Path) -> (Catalog, String) {
        let workspace = Workspace { root: root.to_path_buf(), target: root.join("target") };
        let stage = root.join("stage");
        run(&workspace, stage.to_str()).unwrap();
        let catalog = read_text(&stage.join("policies/catalog.json")).unwrap();
        (serde_json::from_str(&catalog).unwrap(), read_text(&stage.join("sw.js")).unwrap())
    }

    #[test]
    fn the_catalog_lists_every_bundle_with_the_hash_of_what_is_served() {
        let root = staged();
        let (catalog, _) = check(root.path());
        let names = |catalog: &Catalog| -> Vec<String> {
            catalog.policies.iter().map(|entry| entry.manifest.name.clone()).collect()
        };
        assert_eq!(names(&catalog), ["base", "small"]);
        for entry in &catalog.policies {
            let served = fs::read(root.path().join("stage/policies").join(&entry.file)).unwrap();
            assert_eq!((entry.bytes, &entry.sha256), (served.len() as u64, &sha256(&served)));
        }
        let policies = root.path().join("policies");
        fs::copy(policies.join("small.kudos"), policies.join(FIRST)).unwrap();
        assert_eq!(names(&check(root.path()).0), ["small", "base", "small"]);
    }

    #[test]
    fn the_service_worker_knows_all_files_but_policies_and_itself() {
        let root = staged();
        let first = check(root.path()).1;
        let json = first.trim().strip_prefix("const SITE = ").unwrap().strip_suffix(';').unwrap();
        let files: serde_json::Value = serde_json::from_str(json).unwrap();
        let names = |which: &str| -> Vec<String> {
            files[which].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(names("first"), ["./", "engine-cpu.js", "page.js", "snippets/a/b.js"]);
        assert_eq!(names("later"), ["engine-gpu.js"]);
        assert_eq!(files["first"]["page.js"], sha256(b"page.js"));
        assert_eq!(check(root.path()).1, first, "the same files are the same version");
        fs::write(root.path().join("stage/engine-gpu.js"), "changed").unwrap();
        assert_ne!(check(root.path()).1, first, "another file is another version");
    }

    #[test]
    fn an_adapter_stands_behind_its_base_and_is_refused_without_it() {
        let root = staged();
        let adapter = |name: &str, base: &str| {
            let adapts = Some(Adapts { base: base.to_owned(), scale: 2.0 });
            let manifest = PolicyManifest { name: name.into(), adapts, ..Default::default() };
            let path = root.path().join(format!("policies/{name}.kudos"));
            fs::write(path, pack_bundle(manifest, &[])).unwrap();
        };
        let base = fs::read(root.path().join("policies/base.kudos")).unwrap();
        adapter("a-first", &sha256(&base));
        adapter("z-last", &sha256(&base));
        let (catalog, _) = check(root.path());
        let names: Vec<_> = catalog.policies.iter().map(|entry| &*entry.manifest.name).collect();
        assert_eq!(names, ["base", "a-first", "z-last", "small"]);
        adapter("lost", "0");
        let workspace = Workspace { root: root.path().into(), target: root.path().into() };
        let error = run(&workspace, root.path().join("stage").to_str()).unwrap_err();
        assert!(format!("{error:#}").contains("lost.kudos"), "{error:#}");
    }

    #[test]
    fn what_is_no_bundle_is_named() {
        let root = staged();
        fs::write(root.path().join("policies/zero.kudos"), "0").unwrap();
        let workspace = Workspace { root: root.path().into(), target: root.path().into() };
        let error = run(&workspace, root.path().join("stage").to_str()).unwrap_err();
        assert!(format!("{error:#}").contains("zero.kudos"), "{error:#}");
    }

    #[test]
    fn only_a_collector_elsewhere_is_added_to_the_policy_of_the_page() {
        let root = staged();
        let index = root.path().join("stage/index.html");
        for own in ["", "/collector", "../collect"] {
            allow_collector(&index, own).unwrap();
            assert_eq!(read_text(&index).unwrap(), PAGE, "{own}");
        }
        for wrong in ["ftp://a.org", "https://", "https://a.org; script-src *"] {
            assert!(allow_collector(&index, wrong).is_err(), "{wrong}");
        }
        allow_collector(&index, "https://a.org:8443/kudos?x").unwrap();
        assert!(read_text(&index).unwrap().contains("connect-src 'self' https://a.org:8443; "));
        assert!(allow_collector(&root.path().join("stage/page.js"), "https://a.org").is_err());
    }
}
