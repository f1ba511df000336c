//! Names with several addresses, of which one is silent: dual-stack names, headless Services.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::unistd::Uid;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::harness::own::Reachable;
use crate::harness::{Service, free_port};

/// An IPv6 address that answers nothing: its queue is full, and Linux then drops what asks for a
/// connection.
struct Silent {
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Silent {
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
async fn a_silent_address_of_a_name_does_not_hide_the_others() {
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED: names cannot be given addresses here; as root they can");
        return;
    }
    let (database, inventory_port, payment_port) =
        (Reachable::start().await, free_port(), free_port());
    let mut silent = Vec::new();
    for port in [database.port, inventory_port, payment_port] {
        silent.push(Silent::start(port).await);
    }
    // IPv6 comes first, wherever it stands.
    let hosts = database.own.root.join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost twin.test\n::1 twin.test\n").unwrap();
    let at = |port: u16| format!("http://twin.test:{port}");
    let url = format!("postgres://postgres@twin.test:{}/postgres", database.port);
    let env = [
        ("DATABASE_URL", url),
        ("INVENTORY_SERVICE_URL", at(inventory_port)),
        ("PAYMENT_SERVICE_URL", at(payment_port)),
        ("PAYMENT_SUCCESS_RATE", "1".to_owned()),
        // They listen on a loopback address, where other names are refused.
        ("ALLOWED_HOSTS", "twin.test".to_owned()),
    ];
    let [mut inventory, mut payment, mut order] = [
        ("inventory", inventory_port),
        ("payment", payment_port),
        ("order", free_port()),
    ]
    .map(|(role, port)| Service::start_with_hosts(role, port, &env, &hosts));
    tokio::join!(inventory.ready(), payment.ready(), order.ready());
    let answer = order
        .post("/orders", &json!({"product_id": "PROD-001", "quantity": 1}))
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(order.get("/health").await.json()["status"], "healthy");
    for service in [&mut inventory, &mut payment, &mut order] {
        service.process.stop().await.unwrap();
    }
    database.own.end().await;
}
