use tokio_postgres::Error;

use super::*;
use crate::testbed::postgres::{Home, Server};
use crate::testbed::scratch_dir::ScratchDir;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// A server with the two tables that are locked. They hold one product and no order.
struct Database {
    server: Server,
    faults: DatabaseFaults,
    _directory: ScratchDir,
}

impl Database {
    async fn start(purpose: &str) -> Self {
        let directory = ScratchDir::create(purpose).unwrap();
        let home = Home::open(directory.path()).unwrap();
        let server = Server::start(home, Vec::new()).await.unwrap();
        server.ensure_database("faults").await.unwrap();
        let url: DatabaseUrl = server.url("faults").parse().unwrap();
        let tables = "CREATE TABLE inventory (product_id TEXT, stock INT);
            CREATE TABLE orders (id INT, created_at TIMESTAMPTZ DEFAULT now());
            INSERT INTO inventory VALUES ('P-0', 1)";
        let client = connect(&url).await.unwrap();
        client.batch_execute(tables).await.unwrap();
        Self {
            server,
            faults: DatabaseFaults::new(url),
            _directory: directory,
        }
    }

    /// Runs a statement that waits at most 50 ms for a lock. Returns whether it got all locks.
    async fn runs(&self, statement: &str) -> bool {
        let client = connect(&self.faults.url).await.unwrap();
        let limited = format!("SET lock_timeout = 50; {statement}");
        match client.batch_execute(&limited).await {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE), "{error}");
                false
            }
        }
    }

    async fn lock_orders(&mut self, lock: OrdersLock) -> bool {
        self.faults.lock_orders(lock, LONG).await.unwrap()
    }

    async fn lock_product(&mut self, product_id: &str) -> bool {
        self.faults.lock_product(product_id, LONG).await.unwrap()
    }

    /// Starts an insert, and returns when its commit waits for the standby.
    async fn waiting_insert(&self) -> JoinHandle<Result<(), Error>> {
        let client = connect(&self.faults.url).await.unwrap();
        let insert = async move { client.batch_execute("INSERT INTO orders VALUES (1)").await };
        let insert = tokio::spawn(insert);
        let watcher = connect(&self.faults.url).await.unwrap();
        let waiting = format!("{WAITING_COMMITS} AND query LIKE 'INSERT%'");
        let started = Instant::now();
        while watcher.execute(&waiting, &[]).await.unwrap() == 0 {
            assert!(started.elapsed() < SETTING_TIMEOUT, "no commit waits");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        insert
    }

    async fn stop(mut self) {
        self.server.stop().await;
    }
}

#[tokio::test]
async fn a_lock_is_held_until_all_faults_are_ended() {
    let mut database = Database::start("locks").await;
    let update_product = "UPDATE inventory SET stock = 2";
    let insert_order = "INSERT INTO orders VALUES (1)";
    let update_order = "UPDATE orders SET id = 2";

    assert!(
        !database.lock_orders(OrdersLock::NewestRows).await,
        "there is no row"
    );
    assert!(
        !database.lock_product("P-1").await,
        "there is no such product"
    );
    assert!(database.lock_product("P-0").await);
    assert!(!database.runs(update_product).await && database.runs(insert_order).await);
    assert!(database.lock_orders(OrdersLock::NewestRows).await);
    assert!(!database.runs(update_order).await && database.runs(insert_order).await);

    database.faults.end_all().await.unwrap();
    assert!(database.lock_orders(OrdersLock::Table).await);
    assert!(database.runs(update_product).await && !database.runs(insert_order).await);

    database.faults.end_all().await.unwrap();
    assert!(database.runs(insert_order).await);
    database.stop().await;
}

#[tokio::test]
async fn a_standby_wait_survives_restarts_and_can_still_be_ended() {
    let mut database = Database::start("standby").await;
    assert!(database.faults.delay_commits(LONG).await.unwrap());
    for kill in [false, true] {
        let insert = database.waiting_insert().await;
        if kill {
            database.server.kill().await;
        } else {
            database.server.stop().await;
        }
        database.server.restart().await.unwrap();
        assert!(insert.await.unwrap().is_err());
    }
    let insert = database.waiting_insert().await;
    database.faults.end_all().await.unwrap();
    insert.await.unwrap().unwrap();

    // The two inserts whose sessions got an error are stored all the same.
    let client = connect(&database.faults.url).await.unwrap();
    let count = client
        .query_one("SELECT count(*) FROM orders", &[])
        .await
        .unwrap();
    assert_eq!(count.get::<_, i64>(0), 3);
    database.stop().await;
}

#[tokio::test]
async fn a_second_standby_wait_is_not_cut_short_by_the_end_of_the_first() {
    let mut database = Database::start("waits").await;
    let short = Duration::from_millis(500);
    let started = Instant::now();
    assert!(database.faults.delay_commits(short).await.unwrap());
    assert!(database.faults.delay_commits(LONG).await.unwrap());
    assert!(started.elapsed() >= short);
    let insert = database.waiting_insert().await;
    database.faults.end_all().await.unwrap();
    insert.await.unwrap().unwrap();
    database.stop().await;
}

#[tokio::test]
async fn a_standby_wait_ends_by_itself() {
    let mut database = Database::start("wait").await;
    let short = Duration::from_millis(500);
    assert!(database.faults.delay_commits(short).await.unwrap());
    let insert = database.runs("INSERT INTO orders VALUES (2)");
    assert!(
        tokio::time::timeout(SETTING_TIMEOUT, insert)
            .await
            .expect("the wait ends")
    );
    database.stop().await;
}

#[tokio::test]
async fn only_the_sessions_of_one_service_are_ended() {
    let database = Database::start("sessions").await;
    let url = |service: ServiceKind| -> DatabaseUrl {
        let url = &database.faults.url;
        url.with_password_for(service.as_str()).parse().unwrap()
    };
    let order = connect(&url(ServiceKind::Order)).await.unwrap();
    let payment = connect(&url(ServiceKind::Payment)).await.unwrap();
    assert!(
        database
            .faults
            .end_sessions(ServiceKind::Order)
            .await
            .unwrap()
    );
    assert!(order.batch_execute("SELECT 1").await.is_err());
    payment.batch_execute("SELECT 1").await.unwrap();
    database.stop().await;
}
