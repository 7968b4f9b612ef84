//! A PostgreSQL that is reached over the network: encrypted, and known by its certificate if so wished.

use std::net::TcpListener;

use collector::database::{Address, Database};

use crate::postgres::Server;
use crate::stand::block_on;

/// Opens the database of a server that speaks only TLS, as a URL with these settings says.
async fn open(port: u16, settings: &str) -> Result<Database, String> {
    let url = format!("postgres://kudos@localhost:{port}/postgres?{settings}");
    let opened = Database::open(&Address::from_url(&url).unwrap()).await;
    opened.map_err(|error| error.to_string())
}

#[test]
fn the_connection_to_the_database_is_encrypted_and_the_server_known_by_its_certificate() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let Some(server) = Server::start_encrypted(port) else { return };
    let trusted = format!("sslrootcert={}", server.certificate().display());
    block_on(async {
        for settings in ["", "sslmode=require", &format!("sslmode=verify-full&{trusted}")] {
            let database = open(port, settings).await.unwrap_or_else(|e| panic!("{settings}: {e}"));
            database.ping().await.unwrap();
            database.close().await;
        }
        let refused = open(port, "sslmode=disable").await.unwrap_err();
        assert!(refused.contains("no encryption"), "{refused}");
        let unknown = open(port, "sslmode=verify-full").await.unwrap_err();
        assert!(unknown.contains("certificate"), "{unknown}");
    });
}
