//! A PostgreSQL server for the tests: started once, below a temporary folder, reached by a socket in it.
//!
//! It refuses to run as root, so that root starts it as the user `postgres`, or else `nobody`. It ends with the process that
//! started it, however that ends: a shell waits for the end of its standard input.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs};

use sqlx::{AnyConnection, AssertSqlSafe, Connection};

const MISSING: &str = "the tests need PostgreSQL: `apt-get install -y postgresql`, or name the folder of its \
    programs in KUDOS_POSTGRES; KUDOS_POSTGRES=none leaves these tests out";
const SETTINGS: &str = "-c fsync=off -c max_connections=300 -c shared_buffers=32MB";
/// A certificate that nobody but its owner signed, and no connection over TCP without TLS.
const ENCRYPTED: &str = r#"
cat > "$folder/request" << end
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = localhost
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost
end
openssl req -x509 -config "$folder/request" -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
    -keyout "$folder/server.key" -out "$folder/server.crt" 2> "$folder/log" ||
    { echo 'the tests of TLS need openssl: apt-get install -y openssl' >&2; cat "$folder/log" >&2; exit 1; }
echo 'local all all trust
hostssl all all localhost trust' > "$folder/hba"
"#;
const SCRIPT: &str = r#"
programs=$1; folder=$2; settings=$3
eval "$4"
if [ ! -d "$folder/data" ]; then
    "$programs/initdb" -D "$folder/data" -U kudos -A trust -E UTF8 --no-locale --no-sync > "$folder/log" 2>&1
fi
start() {
    "$programs/pg_ctl" -D "$folder/data" -l "$folder/log" -o "-k $folder $settings" -w start > /dev/null 2>&1
}
start || { cat "$folder/log" >&2; exit 1; }
echo ready
while read -r order; do
    case $order in
        stop) "$programs/pg_ctl" -D "$folder/data" -m immediate -w stop > /dev/null 2>&1 ;;
        start) start ;;
    esac
    echo done
done
"$programs/pg_ctl" -D "$folder/data" -m immediate stop > /dev/null 2>&1
rm -rf "$folder"
"#;

/// A running server.
pub(crate) struct Server {
    folder: PathBuf,
    shell: Child,
    said: BufReader<ChildStdout>,
}

static SHARED: LazyLock<Option<Server>> = LazyLock::new(Server::start);
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// The URL of a new, empty database; none if PostgreSQL is left out.
pub(crate) async fn fresh() -> Option<String> {
    let server = SHARED.as_ref()?;
    Some(server.database().await)
}

impl Server {
    /// Starts a server of its own; none if PostgreSQL is left out.
    pub(crate) fn start() -> Option<Self> {
        Self::start_in(Self::folder(), [&format!("-c listen_addresses= {SETTINGS}"), ""])
    }

    /// Starts a server that listens on this port of the loopback interface, too, but speaks only TLS there.
    pub(crate) fn start_encrypted(port: u16) -> Option<Self> {
        let folder = Self::folder();
        let at = folder.display();
        let tls = format!(
            "-c listen_addresses=localhost -p {port} -c hba_file={at}/hba -c ssl=on \
             -c ssl_cert_file={at}/server.crt -c ssl_key_file={at}/server.key {SETTINGS}"
        );
        Self::start_in(folder, [&tls, ENCRYPTED])
    }

    fn folder() -> PathBuf {
        tempfile::Builder::new().prefix("kudos-pg-").tempdir().unwrap().keep()
    }

    /// Starts a server with settings, after a preparation.
    fn start_in(folder: PathBuf, words: [&str; 2]) -> Option<Self> {
        let programs = programs()?;
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh"]).arg(programs).arg(&folder).args(words);
        if let Some((uid, gid)) = other_user(&folder) {
            chown(&folder, Some(uid), Some(gid)).unwrap();
            shell.uid(uid).gid(gid);
        }
        let mut shell = shell
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(shell.stdout.take().unwrap());
        let mut server = Self { folder, shell, said };
        assert_eq!(server.listen(), "ready", "PostgreSQL starts");
        Some(server)
    }

    /// Stops it at once, as a crash would, or starts it again.
    pub(crate) fn order(&mut self, order: &str) {
        use std::io::Write;
        writeln!(self.shell.stdin.as_mut().unwrap(), "{order}").unwrap();
        assert_eq!(self.listen(), "done", "{order}");
    }

    /// The URL of a new, empty database.
    pub(crate) async fn database(&self) -> String {
        sqlx::any::install_default_drivers();
        let name = format!("kudos{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut connection = AnyConnection::connect(&self.url("postgres")).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut connection).await.unwrap();
        self.url(&name)
    }

    /// The certificate of an encrypted server.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("server.crt")
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://kudos@localhost/{database}?host={}", self.folder.display())
    }

    fn listen(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

/// The folder of `initdb` and `pg_ctl`; none if PostgreSQL is left out.
fn programs() -> Option<PathBuf> {
    let has =
        |folder: &Path| ["initdb", "pg_ctl", "postgres"].iter().all(|it| folder.join(it).exists());
    let named = env::var("KUDOS_POSTGRES").ok();
    if let Some(named) = named {
        assert!(named == "none" || has(Path::new(&named)), "KUDOS_POSTGRES={named}: {MISSING}");
        return (named != "none").then(|| named.into());
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.retain(|folder| has(folder));
    // Their names are numbers: 9 comes before 15.
    folders.sort_by_key(|folder| {
        let version =
            folder.parent().and_then(|version| version.file_name()?.to_str()?.parse().ok());
        version.unwrap_or(0_u32)
    });
    Some(folders.pop().expect(MISSING))
}

/// Whom root lets run the server; none for everybody else, who run it themselves.
fn other_user(folder: &Path) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    if fs::metadata(folder).unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let fields: Vec<&str> = line.split(':').collect();
        Some((fields[2].parse().ok()?, fields[3].parse().ok()?))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("there is a user other than root"))
}
