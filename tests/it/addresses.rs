//! Names with several addresses, one of which does not respond. Dual-stack names and headless
//! Services of Kubernetes have several addresses.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::unistd::Uid;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::harness::dedicated_postgres::TcpPostgres;
use crate::harness::{Service, free_port};

/// An IPv6 address that does not respond: its queue of connections is full, and Linux then drops
/// each request for another one.
struct Unresponsive {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Unresponsive {
    async fn start(port: u16) -> Self {
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let socket = TcpSocket::new_v6().unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1).unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) =
            timeout(Duration::from_millis(200), TcpStream::connect(address)).await
        {
            queue.push(stream.unwrap());
        }
        Self {
            _listener: listener,
            _queue: queue,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_connect_although_the_first_address_of_a_name_does_not_respond() {
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED: only root can replace /etc/hosts for a service");
        return;
    }
    let (database, inventory_port, payment_port) =
        (TcpPostgres::start().await, free_port(), free_port());
    let mut unresponsive = Vec::new();
    for port in [database.port, inventory_port, payment_port] {
        unresponsive.push(Unresponsive::start(port).await);
    }
    // The resolver returns the IPv6 address first, wherever it stands in the file.
    let hosts = database.postgres.root.join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost twin.test\n::1 twin.test\n").unwrap();
    let service_url = |port: u16| format!("http://twin.test:{port}");
    let url = format!("postgres://postgres@twin.test:{}/postgres", database.port);
    let env = [
        ("DATABASE_URL", url),
        ("INVENTORY_SERVICE_URL", service_url(inventory_port)),
        ("PAYMENT_SERVICE_URL", service_url(payment_port)),
        ("PAYMENT_SUCCESS_RATE", "1".to_owned()),
        // The services listen on a loopback address, where they reject requests for other names.
        ("ALLOWED_HOSTS", "twin.test".to_owned()),
    ];
    let [mut inventory, mut payment, mut order] = [
        ("inventory", inventory_port),
        ("payment", payment_port),
        ("order", free_port()),
    ]
    .map(|(role, port)| Service::start_with_hosts(role, port, &env, &hosts));
    tokio::join!(
        inventory.wait_until_ready(),
        payment.wait_until_ready(),
        order.wait_until_ready()
    );
    let response = order
        .post("/orders", &json!({"product_id": "PROD-001", "quantity": 1}))
        .await;
    assert_eq!(response.status, 201, "{response:?}");
    assert_eq!(order.get("/health").await.json()["status"], "healthy");
    for service in [&mut inventory, &mut payment, &mut order] {
        service.process.stop().await.unwrap();
    }
    database.postgres.end().await;
}
