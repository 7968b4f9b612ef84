//! Connections of clients that are slow, gone, or in the midst of something when the collector stops.

use std::net::SocketAddr;
use std::time::Duration;

use collector::serve::{Patience, serve};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::exports::plenty;
use crate::made::{rater, rating, sample};
use crate::stand::{Kind, Stand, block_on};

/// A law that does not hold within it does not hold.
const LIMIT: Duration = Duration::from_secs(20);
const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// A collector behind a socket that takes one connection at a time, and is soon out of patience.
struct Listening {
    stand: Stand,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Listening {
    async fn start() -> Self {
        let stand = Stand::with(Kind::Sqlite, |settings| {
            plenty(settings);
            settings.body_pause = Duration::from_millis(300);
        });
        let stand = stand.await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let patience = Patience {
            connections: 1,
            head: Duration::from_millis(300),
            write: Duration::from_millis(300),
            stop: Duration::from_secs(10),
        };
        let (stop, stopped) = oneshot::channel();
        let app = stand.app.clone();
        let served = tokio::spawn(async move {
            serve(listener, app, patience, async { drop(stopped.await) }).await
        });
        Self { stand, address, stop, served }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Asks on a new connection, which is the only one once the others have ended.
    async fn still_answers(&self) {
        let mut stream = self.connect().await;
        stream.write_all(ASK).await.unwrap();
        assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
}

/// Everything that comes until the other end closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(LIMIT, stream.read_to_end(&mut bytes)).await.expect("it stays open");
    // A reset is an end too.
    drop(read);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn post(ratings: &[Value]) -> (String, String) {
    let body = Value::from(ratings.to_vec()).to_string();
    let length = body.len();
    let head = format!(
        "POST /v1/ratings HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    (head, body)
}

#[test]
fn whoever_says_nothing_loses_the_connection() {
    block_on(async {
        let listening = Listening::start().await;
        let mut silent = listening.connect().await;
        assert_eq!(rest(&mut silent).await, "");
        listening.still_answers().await;
    });
}

#[test]
fn a_head_that_comes_too_slowly_is_not_waited_for() {
    block_on(async {
        let listening = Listening::start().await;
        let mut slow = listening.connect().await;
        slow.write_all(b"POST /v1/ratings HTTP/1.1\r\nhost:").await.unwrap();
        assert!(!rest(&mut slow).await.contains("200"));
        listening.still_answers().await;
    });
}

#[test]
fn a_body_that_stays_away_is_not_waited_for() {
    block_on(async {
        let listening = Listening::start().await;
        let mut slow = listening.connect().await;
        let (head, body) = post(&[rating(&listening.stand.policy)]);
        slow.write_all(head.as_bytes()).await.unwrap();
        slow.write_all(&body.as_bytes()[..10]).await.unwrap();
        let answer = rest(&mut slow).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        listening.still_answers().await;
        assert_eq!(listening.stand.export("").await.0.len(), 0);
    });
}

#[test]
fn a_reader_who_takes_nothing_loses_the_connection() {
    block_on(async {
        let listening = Listening::start().await;
        let stand = &listening.stand;
        for number in 0..25 {
            let mut batch: Vec<Value> = (0..100).map(|_| rating(&stand.policy)).collect();
            for rating in &mut batch {
                rating["rater"] = rater(number).into();
                rating["remark"] = "long ".repeat(1000).into();
                rating["samples"] = vec![sample("a nice reply")].into();
            }
            stand.post(&batch).await;
        }
        // Twelve megabytes: more than sockets hold.
        let mut dead = listening.connect().await;
        let ask = format!(
            "GET /v1/export HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n",
            stand.token
        );
        dead.write_all(ask.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        timeout(LIMIT, dead.read_exact(&mut first)).await.unwrap().unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        timeout(LIMIT, listening.still_answers()).await.expect("the place becomes free");
    });
}

#[test]
fn what_was_begun_before_a_stop_is_finished() {
    block_on(async {
        let listening = Listening::start().await;
        let (head, body) = post(&[rating(&listening.stand.policy)]);
        let head = head.replace("connection: close", "connection: close\r\nexpect: 100-continue");
        let mut stream = listening.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut invited = [0; 25];
        stream.read_exact(&mut invited).await.unwrap();
        assert_eq!(&invited, b"HTTP/1.1 100 Continue\r\n\r\n", "the body is waited for");
        listening.stop.send(()).unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.contains("\"accepted\""), "{answer}");
        timeout(LIMIT, listening.served).await.expect("it stops").unwrap().unwrap();
        assert!(TcpStream::connect(listening.address).await.is_err(), "and takes nobody any more");
        let state = listening.stand.state.clone();
        state.close().await;
    });
}
