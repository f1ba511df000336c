//! A headless Chromium. At the end of a test it reports console errors and every address that it
//! requested.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::Method;
use serde_json::{Value, json};

use super::eventually;

/// Root cannot use the sandbox. The other flags turn off background requests of the browser itself.
const FLAGS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1440,1000",
];

/// Chromedriver and the browsers that it starts, in one process group and with a new profile.
struct Driver {
    child: Child,
    watcher: Child,
    /// When this closes, for example because the test process was killed, the watcher kills the whole
    /// group and removes the profile.
    lifeline: Option<ChildStdin>,
    profile: PathBuf,
    port: u16,
}

impl Driver {
    async fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let profile =
            std::env::temp_dir().join(format!("valerix-browser-{}-{number}", std::process::id()));
        let port = super::free_port();
        let child = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver, which scripts/install-chromium installs");
        let mut watcher = Command::new("sh");
        let script = "cat; kill -s KILL -- -\"$0\" 2>/dev/null; rm -rf \"$1\" 2>/dev/null || { sleep 0.3; rm -rf \"$1\"; }";
        watcher
            .args(["-c", script, &child.id().to_string()])
            .arg(&profile)
            .process_group(0);
        let mut watcher = watcher.stdin(Stdio::piped()).spawn().unwrap();
        let lifeline = watcher.stdin.take();
        let driver = Self {
            child,
            watcher,
            lifeline,
            profile,
            port,
        };
        eventually("chromedriver to listen", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .ok()
        })
        .await;
        driver
    }

    async fn session(&self, extra_flags: &[&str]) -> Client {
        let flags = FLAGS
            .iter()
            .chain(extra_flags)
            .map(|flag| (*flag).to_owned());
        let profile = format!("--user-data-dir={}", self.profile.display());
        let capabilities = json!({
            "goog:chromeOptions": {"args": flags.chain([profile]).collect::<Vec<_>>()},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        });
        ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{}", self.port))
            .await
            .unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.watcher.wait();
        let _ = self.child.wait();
    }
}

/// A command of Chromedriver that is not in the standard.
#[derive(Debug)]
struct Vendor {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.path
        ))
    }

    fn method_and_body(&self, _: &url::Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// A page in a browser session of its own.
pub struct Browser {
    client: Client,
    origin: String,
    _driver: Driver,
}

impl Browser {
    /// Opens the page of a service.
    pub async fn open(origin: &str) -> Self {
        Self::open_with(origin, &[]).await
    }

    /// Opens the page of a service in a browser with further flags.
    pub async fn open_with(origin: &str, flags: &[&str]) -> Self {
        let driver = Driver::start().await;
        let client = driver.session(flags).await;
        let browser = Self {
            client,
            origin: origin.to_owned(),
            _driver: driver,
        };
        browser.goto(&format!("{origin}/")).await;
        browser
    }

    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// Runs a script, and returns the value that it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.run_with(script, json!([])).await
    }

    pub async fn run_with(&self, script: &str, arguments: Value) -> Value {
        let arguments = arguments.as_array().unwrap().clone();
        self.client
            .execute(script, arguments)
            .await
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Waits until an element exists.
    pub async fn shows(&self, css: &str) {
        self.until(
            &format!("{css} to be there"),
            &format!("document.querySelector({css:?})"),
        )
        .await;
    }

    /// Waits until no such element exists.
    pub async fn shows_no(&self, css: &str) {
        self.until(
            &format!("{css} to be gone"),
            &format!("!document.querySelector({css:?})"),
        )
        .await;
    }

    /// Waits until an expression is true.
    pub async fn until(&self, what: &str, expression: &str) {
        let script = format!("return Boolean({expression})");
        let started = Instant::now();
        while self.run(&script).await != true {
            let page = async || self.text("body").await;
            assert!(
                started.elapsed() < super::WAIT_TIMEOUT,
                "waited for {what}; the page:\n{}",
                page().await
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    pub async fn text(&self, css: &str) -> String {
        let found = self
            .run(&format!(
                "return document.querySelector({css:?})?.innerText"
            ))
            .await;
        found
            .as_str()
            .unwrap_or_else(|| panic!("no {css}"))
            .to_owned()
    }

    /// Returns the values of an attribute of all such elements, in order.
    pub async fn attributes(&self, css: &str, name: &str) -> Vec<String> {
        let script = format!(
            "return [...document.querySelectorAll({css:?})].map((node) => node.getAttribute({name:?}))"
        );
        serde_json::from_value(self.run(&script).await).unwrap()
    }

    pub async fn click(&self, css: &str) {
        self.shows(css).await;
        self.client
            .find(Locator::Css(css))
            .await
            .unwrap()
            .click()
            .await
            .unwrap_or_else(|error| {
                panic!("{css}: {error}");
            });
    }

    /// Replaces the text of a field.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.client.find(Locator::Css(css)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    pub async fn press(&self, key: Key) {
        let value = char::from(key);
        let keys = KeyActions::new("keyboard".to_owned())
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value });
        self.client.perform_actions(keys).await.unwrap();
    }

    /// Presses Tab until such an element has the focus.
    pub async fn tab_to(&self, css: &str) {
        let has_focus = format!("return document.activeElement.matches({css:?})");
        for _ in 0..80 {
            self.press(Key::Tab).await;
            if self.run(&has_focus).await == true {
                return;
            }
        }
        panic!("{css} cannot be reached with Tab");
    }

    pub async fn is_focused(&self, css: &str) -> bool {
        self.run(&format!("return document.activeElement.matches({css:?})"))
            .await
            == true
    }

    /// A command of the `DevTools` protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.vendor(
            "goog/cdp/execute",
            json!({"cmd": command, "params": parameters}),
        )
        .await
    }

    /// Emulates a screen of this width and the colour scheme.
    pub async fn emulate(&self, width: u32, scheme: &str) {
        self.emulate_screen(width, 844, scheme).await;
    }

    /// Emulates a screen of this size and the colour scheme, and waits until the page has both.
    pub async fn emulate_screen(&self, width: u32, height: u32, scheme: &str) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 2,
            "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features).await;
        let shown = format!(
            "innerWidth === {width} && document.documentElement.style.colorScheme === '{scheme}'"
        );
        self.until(&format!("a {scheme} screen of {width}"), &shown)
            .await;
    }

    async fn vendor(&self, path: &'static str, body: Value) -> Value {
        self.client.issue_cmd(Vendor { path, body }).await.unwrap()
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self.vendor("se/log", json!({"type": kind})).await;
        entries.as_array().unwrap().clone()
    }

    /// Returns the errors and warnings of the console since the last call.
    pub async fn console_errors(&self) -> Vec<Value> {
        self.log("browser")
            .await
            .into_iter()
            .filter(is_page_error)
            .collect()
    }

    /// Checks at the end of a test that the console has no error, and that the page sent requests only
    /// to its own service.
    #[track_caller]
    pub fn was_clean(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let complaints = self.console_errors().await;
            assert!(complaints.is_empty(), "{caller}: {complaints:#?}");
            let asked = requested(&self.log("performance").await);
            let postgres = format!("{}/", self.origin);
            assert!(
                asked.iter().any(|url| url.ends_with("/static/app.js")),
                "{caller}: {asked:?}"
            );
            let foreign: Vec<_> = asked
                .iter()
                .filter(|url| !url.starts_with(&postgres))
                .collect();
            assert!(foreign.is_empty(), "{caller}: {foreign:?}");
        }
    }
}

/// Whether a console entry is an error of the page. The browser itself reports failed requests and
/// responses with 4xx, which other tests check.
fn is_page_error(entry: &Value) -> bool {
    let is_serious = entry["level"] == "SEVERE" || entry["level"] == "WARNING";
    is_serious && entry["source"] != "network"
}

/// Returns every address that the page requested, including requests that the browser blocked.
fn requested(log: &[Value]) -> Vec<String> {
    let messages = log.iter().map(|entry| {
        let message: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
        message["message"].clone()
    });
    // The browser starts with a page of its own.
    let own_page = |parameters: &Value| {
        parameters["documentURL"]
            .as_str()
            .is_some_and(|document| document.starts_with("chrome://"))
    };
    let url = |message: Value| {
        let parameters = &message["params"];
        match message["method"].as_str()? {
            "Network.requestWillBeSent" if own_page(parameters) => None,
            "Network.requestWillBeSent" => parameters["request"]["url"].as_str().map(str::to_owned),
            "Network.webSocketCreated" | "Network.webTransportCreated" => {
                parameters["url"].as_str().map(str::to_owned)
            }
            _ => None,
        }
    };
    messages.filter_map(url).collect()
}
