//! A shop of its own, served by the `avis` that was built beside this: by one process, or by one a role.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

use super::{Result, seen::Seen};
use crate::{
    shared::Redis,
    till::{CARDS, TERMINALS, means, registry, terminal},
};

const ANYWHERE: &str = "127.0.0.1:0";
/// The user that an analyst's token is issued to.
pub const ANALYST: &str = "anna";

/// Its processes, the one that terminals ask first.
pub struct Installation {
    /// A token of each terminal.
    pub tokens: Vec<String>,
    /// A token of an analyst.
    pub analyst: String,
    processes: Vec<Process>,
    settings: Vec<(&'static str, String)>,
    avis: PathBuf,
    folder: TempDir,
    _redis: Option<Redis>,
}

/// A process, with the doors that are asked.
struct Process {
    child: Child,
    http: SocketAddr,
    postgres: SocketAddr,
    data: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that was stopped has nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Installation {
    /// One process.
    pub fn whole() -> Result<Self> {
        Self::start(tempfile::tempdir()?, &[None], Vec::new(), None)
    }

    /// A process a role, over this Fluvio cluster, tables on this storage, and a Redis of its own.
    pub fn apart(fluvio: String, storage: String) -> Result<Self> {
        let (folder, redis) = (tempfile::tempdir()?, Redis::start()?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let near = || {
            let free = TcpListener::bind(ANYWHERE).and_then(|free| free.local_addr())?;
            Ok::<_, std::io::Error>(format!("http://{free}"))
        };
        let keys = folder.path().join("connectors").display().to_string();
        let settings = vec![
            ("AVIS__LOG__ENGINE", "fluvio".to_owned()),
            ("AVIS__FLUVIO__ENDPOINT", fluvio),
            ("AVIS__FLUVIO__TOPIC_PREFIX", format!("l{now}-")),
            ("AVIS__AUTHORISER__CACHE", "redis".to_owned()),
            ("AVIS__REDIS__URLS", redis.url.clone()),
            ("AVIS__TABLES__LOCATION", format!("s3://avis-test/l{now}")),
            ("AVIS__TABLES__ENDPOINT", storage),
            ("AVIS__TABLES__ACCESS_KEY", "avis".to_owned()),
            ("AVIS__TABLES__SECRET_KEY", "avis-secret".to_owned()),
            ("AVIS__ROLES__CONNECTORS", keys),
            ("AVIS__ROLES__AUTHORISER", near()?),
            ("AVIS__ROLES__WAREHOUSE", near()?),
            ("AVIS__ROLES__PIPELINES", near()?),
        ];
        let roles = ["connectors", "authoriser", "pipelines", "warehouse"];
        Self::start(folder, &roles.map(Some), settings, Some(redis))
    }

    fn start(
        folder: TempDir,
        roles: &[Option<&str>],
        mut settings: Vec<(&'static str, String)>,
        redis: Option<Redis>,
    ) -> Result<Self> {
        let avis = std::env::current_exe()?.with_file_name("avis");
        if !avis.is_file() {
            return Err("build it first: cargo build --release --workspace".into());
        }
        // As often as they like: what is measured is how fast it goes.
        settings.push(("AVIS__TERMINALS__REQUESTS_PER_SECOND", "1000000".into()));
        settings.push(("AVIS__TERMINALS__REQUESTS_AT_ONCE", "1000000".into()));
        let mut all = Self {
            tokens: Vec::new(),
            analyst: String::new(),
            processes: Vec::new(),
            settings,
            avis,
            folder,
            _redis: redis,
        };
        let first = all.place(roles[0]);
        all.furnish(&first)?;
        for role in roles {
            let process = all.spawn(*role)?;
            all.processes.push(process);
        }
        Ok(all)
    }

    /// The folder of a role.
    fn place(&self, role: Option<&str>) -> PathBuf {
        self.folder.path().join(role.unwrap_or("data"))
    }

    /// Registers, cards and tokens, before anything runs.
    fn furnish(&mut self, data: &Path) -> Result<()> {
        std::fs::create_dir_all(data.join("log"))?;
        let file = |name: &str, text: String| {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).map(|()| path.display().to_string())
        };
        let rules = file("registry.yaml", registry())?;
        self.told(data, &["registry", "apply", &rules])?;
        let cards = file("means.ndjson", (0..CARDS).map(means).collect())?;
        self.told(data, &["load", "means", &cards])?;
        let token = |role: &str, organisation: &str, subject: &str| {
            let asked = ["token", "issue", "--role", role, "--subject", subject];
            let at = ["--organisation", organisation];
            let at = if organisation.is_empty() { &[][..] } else { &at[..] };
            self.told(data, &[&asked, at].concat()).map(|text| text.trim().to_owned())
        };
        let terminals = (0..TERMINALS).map(|number| token("terminal", "shop", &terminal(number)));
        (self.tokens, self.analyst) =
            (terminals.collect::<Result<_>>()?, token("analyst", "", ANALYST)?);
        Ok(())
    }

    /// Starts a process, where others look for it; it is ready then.
    fn spawn(&self, role: Option<&str>) -> Result<Process> {
        let known = |setting: &str| {
            let found = self.settings.iter().find(|(name, _)| *name == setting);
            found.and_then(|(_, at)| at.strip_prefix("http://")).unwrap_or(ANYWHERE)
        };
        let (http, flight) = match role {
            Some("authoriser") => (known("AVIS__ROLES__AUTHORISER"), ANYWHERE),
            Some("warehouse") => (known("AVIS__ROLES__WAREHOUSE"), ANYWHERE),
            Some("pipelines") => (ANYWHERE, known("AVIS__ROLES__PIPELINES")),
            _ => (ANYWHERE, ANYWHERE),
        };
        let data = self.place(role);
        let mut command = Command::new(&self.avis);
        command.args(["up", "--http", http, "--flight", flight]);
        command.args(["--grpc", ANYWHERE, "--postgres", ANYWHERE, "--data"]).arg(&data);
        if let Some(role) = role {
            command.args(["--role", role]);
        }
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let (mut http, mut postgres) = (None, None);
        for line in &mut lines {
            let line = line?;
            let Some((door, at)) = line.split_once(' ') else { break };
            let at = at.trim().rsplit("://").next().and_then(|at| at.split(['/', ' ']).next());
            match door {
                "http" => http = at.map(str::parse).transpose()?,
                "sql" => postgres = at.map(str::parse).transpose()?,
                _ => {}
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        let missing = || format!("{} did not come up", role.unwrap_or("the node"));
        let http = http.ok_or_else(missing)?;
        Ok(Process { child, http, postgres: postgres.unwrap_or(http), data })
    }

    /// Where terminals ask.
    pub fn http(&self) -> SocketAddr {
        self.processes[0].http
    }

    /// Where analysts ask.
    pub fn postgres(&self) -> SocketAddr {
        self.processes[self.processes.len() - 1].postgres
    }

    /// What the processes' metrics say now.
    pub async fn seen(&self) -> Result<Seen> {
        Seen::of(self.processes.iter().map(|of| of.http)).await
    }

    /// Stops it; answers how many sales its tables hold.
    pub fn close(mut self) -> Result<usize> {
        for process in &mut self.processes {
            let stopped = Command::new("kill").arg(process.child.id().to_string()).status()?;
            if !stopped.success() || !process.child.wait()?.success() {
                return Err("a process did not stop cleanly".into());
            }
        }
        // The last one tells; what it is told of the tables lies where it lay.
        let data = &self.processes[self.processes.len() - 1].data;
        let checked = self.told(data, &["settle", "check"])?;
        if !checked.contains("the books balance") {
            return Err(checked.into());
        }
        let query = ["sql", "SELECT COUNT(*) FROM authorisations", "--format", "csv"];
        let rows = self.told(data, &query)?;
        Ok(rows.lines().last().unwrap_or_default().parse()?)
    }

    fn told(&self, data: &Path, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.avis);
        command.args(arguments).arg("--data").arg(data);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        let output = command.output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
