#!/usr/bin/env python3
"""Loses the primary's machine under load, several times: three nodes with Patroni and etcd and
synchronous replication, and the three services with all three nodes in their DATABASE_URL.

Measures how long it takes until orders are acknowledged again, and verifies that no acknowledged
order is lost. Everything that the drill starts or writes is removed at the end. Exit code 1 if the
drill fails.
"""

import argparse
import sys
import time
from pathlib import Path

from kit.cluster import Cluster, PromotionWatch
from kit.order_check import STORED_ORDERS_QUERY, StoredOrders
from kit.orders import OrderLoad, count_by_status, deliver_all
from kit.sandbox import DrillFailed, run_drill, wait_for
from kit.services import Services, url

# Longest time from a promotion to the first acknowledged order.
MAX_RECOVERY_SECONDS = 10
PROMOTION_TIMEOUT_SECONDS = 90
ACKNOWLEDGEMENT_TIMEOUT_SECONDS = 60
# Load before a loss, and after the recovery.
SECONDS_BEFORE_LOSS = 5
SECONDS_AFTER_RECOVERY = 5
EXTRA_STOCK = 1_000_000


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--program", default="target/release/valerix", help="the valerix to run [%(default)s]"
    )
    parser.add_argument("--rate", type=float, default=50, help="orders per second [%(default)s]")
    parser.add_argument(
        "--losses",
        default="kill,freeze,kill",
        help="how the primary is lost each time: kill (a power failure) or freeze (it hangs, and "
        "continues after another node was promoted) [%(default)s]",
    )
    parser.add_argument("--logs", help="copy all logs to this directory")
    chosen = parser.parse_args()
    chosen.losses = chosen.losses.split(",")
    if unknown := set(chosen.losses) - {"kill", "freeze"}:
        parser.error(f"--losses takes kill and freeze, not {', '.join(unknown)}")
    if not Path(chosen.program).is_file():
        parser.error(f"{chosen.program} does not exist: build it, or set --program")
    if chosen.rate <= 0:
        parser.error("--rate must be greater than 0")
    return chosen


def lose_primary(cluster, load, how):
    """Loses the primary once, and waits until the cluster is healthy again.

    Returns the times of the loss, of the promotion, and of the first acknowledged order.
    """
    primary = cluster.wait_until_healthy()
    standbys = [node for node in cluster.nodes if node is not primary]
    time.sleep(SECONDS_BEFORE_LOSS)
    watch = PromotionWatch(standbys)
    lost_at = time.time()
    primary.kill() if how == "kill" else primary.freeze()
    stopped_at = time.time()
    successor, promoted_at, leader_at = watch.wait(PROMOTION_TIMEOUT_SECONDS)
    recovered_at = wait_for(
        "an order to be acknowledged after the promotion",
        lambda: load.first_acknowledged_after(stopped_at),
        ACKNOWLEDGEMENT_TIMEOUT_SECONDS,
    )
    print(
        f"{how:>8}  {primary.name} → {successor.name}: promoted after "
        f"{promoted_at - lost_at:.1f} s, leader key after {leader_at - lost_at:.1f} s, "
        f"first order {recovered_at - promoted_at:.1f} s after the promotion",
        flush=True,
    )
    time.sleep(SECONDS_AFTER_RECOVERY)
    primary.start() if how == "kill" else primary.unfreeze()
    cluster.wait_until_healthy(timeout=120)
    return lost_at, promoted_at, recovered_at


def report(load, losses):
    """Prints all measurements, and returns the longest recovery after a promotion."""
    print(f"\n{len(load.orders)} orders: {count_by_status(load.orders)}")
    for number, (lost_at, _, recovered_at) in enumerate(losses, 1):
        orders = load.sent_between(lost_at, recovered_at)
        print(
            f"  loss {number}: {recovered_at - lost_at:.1f} s without a writable primary, "
            f"{len(orders)} orders in that time: {count_by_status(orders)}"
        )
    longest = max(recovered_at - promoted_at for _, promoted_at, recovered_at in losses)
    print(
        f"  from promotion to the first acknowledged order: at most {longest:.1f} s "
        f"(goal {MAX_RECOVERY_SECONDS} s)"
    )
    return longest


def drill(sandbox, chosen):
    print("starting three nodes …", flush=True)
    cluster = Cluster(sandbox)
    cluster.start()
    services = Services(sandbox, Path(chosen.program))
    query = "&target_session_attrs=read-write"
    database_url = url("valerix", cluster.password, cluster.hosts(), "valerix", query)
    services.start(database_url)
    services.wait_until_ready()
    cluster.query(
        cluster.wait_until_healthy(),
        deliver_all(EXTRA_STOCK),
    )
    print(f"{chosen.rate:g} orders/s; losses: {', '.join(chosen.losses)}", flush=True)
    with OrderLoad(services.order_port, chosen.rate) as load:
        losses = [lose_primary(cluster, load, how) for how in chosen.losses]
    longest = report(load, losses)
    services.wait_until_settled()
    stored = StoredOrders(cluster.query(cluster.wait_until_healthy(), STORED_ORDERS_QUERY))
    missing = stored.missing(load.orders)
    acknowledged = sum(order.acknowledged for order in load.orders)
    print(f"  acknowledged orders: {acknowledged}, lost: {len(missing)}\n")
    print(services.audit(database_url))
    if missing:
        example = missing[0].id
        raise DrillFailed(f"{len(missing)} acknowledged orders are lost, for example {example}")
    stored.check(load.orders)
    if longest > MAX_RECOVERY_SECONDS:
        raise DrillFailed(f"orders were acknowledged only {longest:.1f} s after the promotion")
    services.stop()


def main():
    chosen = arguments()
    return run_drill("failover", chosen.logs, lambda sandbox: drill(sandbox, chosen))


if __name__ == "__main__":
    sys.exit(main())
