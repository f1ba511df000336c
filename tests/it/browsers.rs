//! Requests that a web page can make a browser send, in a real Chromium.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::browser::Browser;
use crate::harness::{Service, Stack, TestDatabase, WAIT_TIMEOUT, eventually, free_port};

/// Maps the host names of the tests to this machine.
const NAMES: &str = "--host-resolver-rules=MAP evil.test 127.0.0.1, MAP friend.test 127.0.0.1";

/// Serves the same page at every path.
fn serve_page(listener: TcpListener, html: String) {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let response = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{html}",
                html.len()
            );
            tokio::spawn(async move {
                let mut request = [0; 8192];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(response.as_bytes()).await;
            });
        }
    });
}

/// Forms of each encoding. The first is valid JSON as text/plain: `{"product_id":"=", …
/// ,"kind":"crash"}`.
fn forms(order: &str) -> String {
    let crash = |action: &str, id: &str, encoding: &str| {
        format!(
            r#"<form id="{id}" method="post" enctype="{encoding}" action="{order}{action}">
            <input name='{{"product_id":"' value='","product_id":null,"kind":"crash"}}'></form>"#
        )
    };
    let buy = format!(
        r#"<form id="buy" method="post" enctype="text/plain" action="{order}/orders">
        <input name='{{"product_id":"PROD-001","quantity":1,"more":"' value='"}}'></form>"#
    );
    [
        crash("/gremlin/rules", "plain", "text/plain"),
        crash(
            "/gremlin/rules",
            "urlencoded",
            "application/x-www-form-urlencoded",
        ),
        crash("/gremlin/rules", "multipart", "multipart/form-data"),
        crash(
            "/services/payment-service/gremlin/rules",
            "proxy",
            "text/plain",
        ),
        buy,
    ]
    .concat()
}

async fn submit_is_rejected(browser: &Browser, site: &str) {
    for form in ["plain", "urlencoded", "multipart", "proxy", "buy"] {
        browser.goto(site).await;
        browser
            .run(&format!("document.querySelector('#{form}').submit()"))
            .await;
        let refused = "document.body?.innerText.includes('cross-site-request')";
        browser
            .until(&format!("{form} from {site} to be refused"), refused)
            .await;
    }
}

/// Sends a request whose response the page cannot see. Returns once there is one.
async fn fetch_unseen(browser: &Browser, url: &str) {
    let body = json!({"kind": "crash"}).to_string();
    let script = format!(
        "return fetch({url:?}, {{method: 'POST', mode: 'no-cors', body: {body:?}}}).then((it) => it.type, String)"
    );
    assert_eq!(browser.run(&script).await, "opaque", "{url}");
}

/// Sends the same request from a sandboxed frame, whose origin is `null`.
async fn fetch_unseen_from_a_sandbox(browser: &Browser, url: &str) {
    let body = json!({"kind": "crash"}).to_string();
    let script = "const [url, body] = arguments;
        return new Promise((resolve) => {
            addEventListener('message', (event) => resolve(event.data));
            const frame = document.createElement('iframe');
            frame.sandbox = 'allow-scripts';
            const options = JSON.stringify({ method: 'POST', mode: 'no-cors', body });
            frame.srcdoc = `<script>fetch(${JSON.stringify(url)}, ${options})
                .then((it) => it.type, String).then((it) => parent.postMessage(it, '*'))</${'script'}>`;
            document.body.append(frame);
        })";
    assert_eq!(
        browser.run_with(script, json!([url, body])).await,
        "opaque",
        "{url}"
    );
}

async fn status_of_order(browser: &Browser, url: &str) -> i64 {
    let body = json!({"product_id": "PROD-001", "quantity": 1}).to_string();
    let script = format!(
        "return fetch({url:?}, {{method: 'POST', body: {body:?}}}).then((it) => it.status)"
    );
    browser.run(&script).await.as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_change_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let friend = format!("http://friend.test:{port}");
    let stack = Stack::with(&[("CORS_ALLOWED_ORIGINS", &friend)]).await;
    serve_page(listener, forms(&stack.order.url));
    // Another port is another origin of the same site; the names are other sites.
    let sites =
        ["127.0.0.1", "localhost", "evil.test"].map(|host| format!("http://{host}:{port}/"));
    let browser = Browser::open_with(&format!("http://evil.test:{port}"), &[NAMES]).await;
    for site in &sites {
        submit_is_rejected(&browser, site).await;
        browser.goto(site).await;
        for service in [&stack.order, &stack.inventory, &stack.payment] {
            let rules = format!("{}/gremlin/rules", service.url);
            fetch_unseen(&browser, &rules).await;
            fetch_unseen_from_a_sandbox(&browser, &rules).await;
        }
    }
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        assert_eq!(
            service.get("/gremlin/rules").await.json()["rules"],
            json!([]),
            "{}",
            service.url
        );
        let refused = r#"http_requests_total{method="POST",path="/gremlin/rules""#;
        assert!(
            service.metric(refused).await >= 6.0,
            "the requests did not arrive"
        );
    }
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 0);

    // DNS rebinding: the name of the page resolves to this machine.
    let order_port = stack.order.url.rsplit_once(':').unwrap().1;
    let rebound = format!("http://evil.test:{order_port}");
    browser.goto(&format!("{rebound}/sla")).await;
    assert!(browser.text("body").await.contains("misdirected-request"));
    assert_eq!(
        status_of_order(&browser, &format!("{rebound}/orders")).await,
        421
    );
    assert_eq!(stack.database.count("SELECT count(*) FROM orders").await, 0);

    // Pages of the service itself, under either name, and of an origin that is listed.
    browser
        .goto(&format!("http://localhost:{order_port}/"))
        .await;
    assert_eq!(status_of_order(&browser, "/orders").await, 201);
    browser.goto(&format!("{friend}/")).await;
    assert_eq!(
        status_of_order(&browser, &format!("{}/orders", stack.order.url)).await,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_works_under_a_policy_that_forbids_framing() {
    let stack = Stack::start().await;
    let browser = Browser::open(&stack.order.url).await;
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        for path in ["/docs/", "/docs/index.html", "/docs/oauth2-redirect.html"] {
            let page = service.get(path).await;
            let policy = page.header("content-security-policy");
            assert!(
                policy.contains("frame-ancestors 'none'"),
                "{path}: {policy}"
            );
            assert_eq!(page.header("x-content-type-options"), "nosniff");
        }
        browser.goto(&format!("{}/docs/", service.url)).await;
        browser.shows(".opblock").await;
    }
    let complaints = browser.console_errors().await;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

async fn post(service: &Service, headers: &[(&str, &str)]) -> crate::harness::Response {
    let order = json!({"product_id": "PROD-001", "quantity": 1}).to_string();
    service
        .request(Method::POST, "/orders", headers, Some(&order))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_the_host_header_is_the_origin_of_the_service() {
    let database = TestDatabase::create().await;
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let env = [
        ("DATABASE_URL", database.url()),
        ("INVENTORY_SERVICE_URL", nobody.clone()),
        ("PAYMENT_SERVICE_URL", nobody),
        ("HOST", "0.0.0.0".to_owned()),
    ];
    let service = Service::start("order", free_port(), &env);
    service.wait_until_ready().await;
    let host = ("host", "shop.example");
    for origin in [
        "http://shop.example",
        "https://shop.example",
        "https://SHOP.example:443",
    ] {
        let page = [host, ("origin", origin), ("sec-fetch-site", "same-origin")];
        assert_eq!(post(&service, &page).await.status, 202, "{origin}");
    }
    let other = [host, ("origin", "https://evil.example")];
    post(&service, &other)
        .await
        .assert_problem(403, "cross-site-request");
    post(&service, &[host, ("sec-fetch-site", "same-site")])
        .await
        .assert_problem(403, "cross-site-request");
    // Programs send no such headers. A service on a public address accepts any host name.
    assert_eq!(
        post(&service, &[("host", "order-service:5001")])
            .await
            .status,
        202
    );
    assert_eq!(post(&service, &[]).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loopback_service_accepts_the_listed_host_names() {
    let stack = Stack::with(&[("ALLOWED_HOSTS", "valerix.test, other.test")]).await;
    for service in [&stack.order, &stack.inventory, &stack.payment] {
        let named = async |host| {
            service
                .request(Method::GET, "/livez", &[("host", host)], None)
                .await
        };
        for host in [
            "valerix.test:80",
            "OTHER.test",
            "localhost:1",
            "127.0.0.9",
            "[::1]",
        ] {
            assert_eq!(named(host).await.status, 200, "{host}");
        }
        for host in ["evil.example", "test", "x.valerix.test", "10.0.0.1"] {
            named(host).await.assert_problem(421, "misdirected-request");
        }
    }
}

/// A page of another origin gets a problem document for its preflight request.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_preflight_is_a_problem_document() {
    let stack = Stack::with(&[("CORS_ALLOWED_ORIGINS", "http://shop.example")]).await;
    let preflight = async |origin, method, header| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", header),
        ];
        stack
            .order
            .request(Method::OPTIONS, "/orders", &headers, None)
            .await
    };
    for refused in [
        preflight("http://evil.example", "POST", "content-type").await,
        preflight("http://shop.example", "PATCH", "content-type").await,
        preflight("http://shop.example", "POST", "x-unheard-of").await,
    ] {
        refused.assert_problem(400, "cors-refused");
        assert!(
            refused.headers.get("access-control-allow-origin").is_none(),
            "{refused:?}"
        );
    }
    let allowed = preflight("http://shop.example", "POST", "content-type,traceparent").await;
    assert_eq!(allowed.status, 200, "{allowed:?}");
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        "http://shop.example"
    );
    assert_eq!(allowed.header("x-trace-id").len(), 32);
    // A page of a listed origin can read the error.
    let unknown = json!({"product_id": "PROD-404", "quantity": 1}).to_string();
    let page = [("origin", "http://shop.example")];
    let answer = stack
        .order
        .request(Method::POST, "/orders", &page, Some(&unknown))
        .await;
    answer.assert_problem(422, "unknown-product");
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "http://shop.example"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_the_ipv6_loopback_address_is_guarded() {
    let database = TestDatabase::create().await;
    let port = free_port();
    let env = [("DATABASE_URL", database.url()), ("HOST", "::1".to_owned())];
    let _service = Service::start("payment", port, &env);
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(WAIT_TIMEOUT)
        .build()
        .unwrap();
    let url = format!("http://[::1]:{port}/livez");
    eventually("the service to answer", async || {
        http.get(&url)
            .send()
            .await
            .ok()
            .filter(|it| it.status() == 200)
    })
    .await;
    let named = http
        .get(&url)
        .header("host", "evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(named.status(), 421);
}
