//! What goes wrong on real machines: power, disks, databases. What was acknowledged is never lost, and nothing comes twice.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::made::rating;
use crate::postgres::Server;
use crate::program::{Folder, PROGRAM, Running, post};
use crate::stand::{Kind, Stand, block_on, ids, statuses};
use collector::database::Address;

const SENDERS: usize = 4;
const KILLS: usize = 20;

/// What senders know.
#[derive(Default)]
struct Known {
    sent: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
}

/// The ids that an export has, in its order.
fn exported(running: &Running, token: &str) -> Vec<String> {
    let answer = running.get("/v1/export", token);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let rows: Vec<Value> =
        answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    ids(&rows)
}

/// Posts batches until the collector is gone. What is not known to have arrived is sent again at the next call.
fn send(address: SocketAddr, folder: &Folder, pending: &mut Vec<Value>, known: &Mutex<Known>) {
    loop {
        if pending.is_empty() {
            *pending = (0..5).map(|_| rating(&folder.policy)).collect();
            known.lock().unwrap().sent.extend(ids(pending));
        }
        let Some(answer) = post(address, pending) else { return };
        assert_eq!(answer.status, 200, "{}", answer.body);
        let receipt: Value = serde_json::from_str(&answer.body).unwrap();
        let receipt = receipt["results"].as_array().unwrap();
        let fine = statuses(receipt).iter().all(|it| ["accepted", "duplicate"].contains(it));
        assert!(fine && receipt.len() == 5, "{receipt:?}");
        known.lock().unwrap().acknowledged.extend(ids(pending));
        pending.clear();
    }
}

fn check(exported: &[String], known: &Known) {
    let found: BTreeSet<String> = exported.iter().cloned().collect();
    assert_eq!(found.len(), exported.len(), "a rating came twice");
    assert!(found.is_superset(&known.acknowledged), "an acknowledged rating is lost");
    assert!(found.is_subset(&known.sent));
}

#[test]
fn killed_at_twenty_moments_under_load_it_loses_nothing_that_it_acknowledged() {
    let folder = Folder::new();
    let token = folder.token();
    let known = Mutex::new(Known::default());
    let mut pending = vec![Vec::new(); SENDERS];
    let mut coins = rand_chacha::ChaCha20Rng::seed_from_u64(11);
    for _ in 0..KILLS {
        let mut running = folder.start();
        let before = known.lock().unwrap().acknowledged.len();
        let posts = 5 * coins.random_range(1..10);
        let moment = Duration::from_micros(coins.random_range(0..10_000));
        thread::scope(|scope| {
            let address = running.address;
            for pending in &mut pending {
                let (folder, known) = (&folder, &known);
                scope.spawn(move || send(address, folder, pending, known));
            }
            while known.lock().unwrap().acknowledged.len() < before + posts {
                thread::yield_now();
            }
            // Whatever it is doing then: the law holds at every moment.
            thread::sleep(moment);
            running.child.kill().unwrap();
            running.child.wait().unwrap();
        });
    }
    let running = folder.start();
    let known = known.into_inner().unwrap();
    check(&exported(&running, &token), &known);
    running.stop();
}

#[test]
fn on_a_full_disk_it_refuses_for_the_time_being_and_keeps_what_it_has() {
    let folder = Folder::new();
    let token = folder.token();
    let known = Mutex::new(Known::default());
    let mut limited = Command::new("sh");
    // No file grows beyond three megabytes: writing more fails, as on a full disk.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 6144; exec \"$@\"", "sh", PROGRAM]);
    let running = Running::of({
        limited.args(folder.words());
        limited
    });
    let mut full = None;
    while full.is_none() {
        let batch: Vec<Value> = (0..50).map(|_| rating(&folder.policy)).collect();
        known.lock().unwrap().sent.extend(ids(&batch));
        let answer = running.post(&batch).expect("it goes on answering");
        match answer.status {
            200 => known.lock().unwrap().acknowledged.extend(ids(&batch)),
            status => full = Some((status, answer.body)),
        }
    }
    let (status, body) = full.unwrap();
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("send this again later"), "{body}");
    assert_eq!(running.get("/healthz", "").status, 200);
    let known = known.into_inner().unwrap();
    check(&exported(&running, &token), &known);
    running.stop();
    let running = folder.start();
    check(&exported(&running, &token), &known);
    let answer = running.post(&[rating(&folder.policy)]).unwrap();
    assert!(answer.body.contains("\"accepted\""), "there is room again: {}", answer.body);
}

#[test]
fn when_the_database_is_gone_it_says_so_and_when_it_is_back_it_goes_on() {
    let Some(mut server) = Server::start() else { return };
    block_on(async {
        let url = server.database().await;
        let stand = Stand::with(Kind::Sqlite, |settings| {
            settings.database = Address::Postgres(url);
        });
        let stand = stand.await.unwrap();
        let (first, second) = (rating(&stand.policy), rating(&stand.policy));
        assert_eq!(statuses(&stand.post(std::slice::from_ref(&first)).await), ["accepted"]);
        assert_eq!(stand.get("/readyz").await.status, 200);
        server.order("stop");
        let text = Value::from(vec![second.clone()]).to_string();
        let answer = stand.post_text(&text).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.headers.contains_key("retry-after"));
        assert!(answer.text().contains("send this again later"), "{}", answer.text());
        assert_eq!(stand.get("/readyz").await.status, 503);
        assert_eq!(stand.get("/healthz").await.status, 200);
        assert_eq!(stand.get("/").await.status, 200, "the page needs no database");
        server.order("start");
        assert_eq!(statuses(&stand.post(&[first, second]).await), ["duplicate", "accepted"]);
        assert_eq!(stand.get("/readyz").await.status, 200);
        assert_eq!(stand.export("").await.0.len(), 2);
        stand.state.close().await;
    });
}
