#!/usr/bin/env python3
"""Loses the primary's machine under load, several times: three nodes with Patroni and etcd and
synchronous replication, and the three services with all three nodes in their DATABASE_URL.

Measures how long it takes until orders are acknowledged again, and verifies that no acknowledged
order is lost. Everything that the drill starts or writes is removed at the end. Exit code 1 if the
drill fails.

PATRONI and ETCD name other programs than those that `make drill-tools` installs.
"""

import argparse
import math
import sys
import time
from dataclasses import dataclass
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
# Less than wal_receiver_timeout, after which a standby would connect again.
SECONDS_CUT = 3
EXTRA_STOCK = 1_000_000
LOSSES = ("kill", "cut", "freeze", "crash")


def settings(text):
    """Parses `name=value,…`."""
    return dict(part.split("=", 1) for part in text.split(","))


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
        help="how the primary is lost each time: kill (a power failure), cut (a power failure, "
        f"{SECONDS_CUT} s after its standbys received the last byte), freeze (it hangs, and "
        "continues after another node was promoted) or crash (only PostgreSQL is killed) "
        f"[{','.join(LOSSES)}]",
    )
    parser.add_argument(
        "--asynchronous",
        action="store_true",
        help="a deliberate defect: commits wait for no standby. The drill must then find lost "
        "orders, and fail. The losses are then [cut]",
    )
    parser.add_argument(
        "--settings",
        type=settings,
        default={},
        metavar="NAME=VALUE,…",
        help="other values of settings in deploy/patroni/patroni.yml, such as ttl=30,loop_wait=10",
    )
    parser.add_argument("--logs", help="copy all logs to this directory")
    chosen = parser.parse_args()
    default_losses = ["cut"] if chosen.asynchronous else LOSSES
    chosen.losses = chosen.losses.split(",") if chosen.losses else default_losses
    if unknown := set(chosen.losses) - set(LOSSES):
        parser.error(f"--losses takes {', '.join(LOSSES)}, not {', '.join(unknown)}")
    if not Path(chosen.program).is_file():
        parser.error(f"{chosen.program} does not exist: build it, or set --program")
    if chosen.rate <= 0:
        parser.error("--rate must be greater than 0")
    if chosen.asynchronous:
        chosen.settings |= {"synchronous_mode": "false", "synchronous_mode_strict": "false"}
    return chosen


@dataclass
class Loss:
    """Times of one loss. The promotion after a crash is not measured."""

    kind: str
    lost_at: float
    promoted_at: float | None
    recovered_at: float

    @property
    def total(self):
        return self.recovered_at - self.lost_at

    @property
    def after_promotion(self):
        return self.recovered_at - self.promoted_at if self.promoted_at else None


def strike(primary, how):
    """Returns the time at which the primary was struck, and the time at which it had stopped."""
    if how == "cut":
        primary.cut_replication()
        time.sleep(SECONDS_CUT)
    lost_at = time.time()
    if how == "freeze":
        primary.freeze()
    elif how == "crash":
        primary.crash_postgres()
    else:
        primary.kill()
    return lost_at, time.time()


def lose_primary(cluster, load, how):
    """Loses the primary once, and waits until the cluster is healthy again."""
    primary = cluster.wait_until_healthy()
    standbys = [node for node in cluster.nodes if node is not primary]
    time.sleep(SECONDS_BEFORE_LOSS)
    etcd = ", also etcd's leader" if primary.is_etcd_leader() else ""
    watch = PromotionWatch(standbys) if how != "crash" else None
    lost_at, stopped_at = strike(primary, how)
    promoted_at, promotion = None, ""
    if watch:
        promoted_at, leader_at = watch.wait(PROMOTION_TIMEOUT_SECONDS)
        promotion = (
            f"promoted after {promoted_at - lost_at:.1f} s, "
            f"leader key after {leader_at - lost_at:.1f} s, "
        )
    recovered_at = wait_for(
        "an order to be acknowledged after the loss",
        lambda: load.first_acknowledged_after(stopped_at),
        ACKNOWLEDGEMENT_TIMEOUT_SECONDS,
    )
    loss = Loss(how, lost_at, promoted_at, recovered_at)
    print(
        f"{how:>8}  {primary.name}{etcd} → {cluster.wait_for_leader().name}: {promotion}"
        f"first order after {loss.total:.1f} s",
        flush=True,
    )
    time.sleep(SECONDS_AFTER_RECOVERY)
    if how == "freeze":
        primary.unfreeze()
    elif how != "crash":
        primary.start()
    cluster.wait_until_healthy(timeout=120)
    return loss


def report(load, losses):
    """Prints all measurements, and returns the longest recovery after a promotion."""
    print(f"\n{len(load.orders)} orders: {count_by_status(load.orders)}")
    for loss in losses:
        orders = load.sent_between(loss.lost_at, loss.recovered_at)
        print(
            f"  {loss.kind}: {loss.total:.1f} s until an order was acknowledged, "
            f"{len(orders)} orders in that time: {count_by_status(orders)}"
        )
    longest = max((loss.after_promotion for loss in losses if loss.promoted_at), default=0)
    if longest:
        print(
            f"  from promotion to the first acknowledged order: at most {longest:.1f} s "
            f"(goal {MAX_RECOVERY_SECONDS} s)"
        )
    return longest


def print_lost_orders(missing, losses):
    """Prints which loss lost them, and when they had been acknowledged."""
    for number, loss in enumerate(losses):
        start = loss.lost_at - SECONDS_CUT
        end = losses[number + 1].lost_at - SECONDS_CUT if number + 1 < len(losses) else math.inf
        times = [
            order.responded_at - loss.lost_at
            for order in missing
            if start <= order.responded_at < end
        ]
        if times:
            print(
                f"    {loss.kind}: {len(times)}, acknowledged between {min(times):.1f} s and "
                f"{max(times):.1f} s after the loss"
            )


def drill(sandbox, chosen):
    cluster = Cluster(sandbox, chosen.settings)
    print(f"starting three nodes: {cluster.versions()} …", flush=True)
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
    mode = "asynchronous" if chosen.asynchronous else "synchronous"
    print(
        f"{chosen.rate:g} orders/s; {mode} replication; losses: {', '.join(chosen.losses)}",
        flush=True,
    )
    with OrderLoad(services.order_port, chosen.rate) as load:
        losses = [lose_primary(cluster, load, how) for how in chosen.losses]
    longest = report(load, losses)
    services.wait_until_settled()
    stored = StoredOrders(cluster.query(cluster.wait_until_healthy(), STORED_ORDERS_QUERY))
    missing = stored.missing(load.orders)
    acknowledged = sum(order.acknowledged for order in load.orders)
    print(f"  acknowledged orders: {acknowledged}, lost: {len(missing)}")
    print_lost_orders(missing, losses)
    # Before the audit, which may fail for the same reason.
    if missing:
        example = missing[0].id
        raise DrillFailed(f"{len(missing)} acknowledged orders are lost, for example {example}")
    print("\n" + services.audit(database_url))
    stored.check(load.orders)
    if longest > MAX_RECOVERY_SECONDS:
        raise DrillFailed(f"orders were acknowledged only {longest:.1f} s after the promotion")
    services.stop()


def main():
    chosen = arguments()
    return run_drill("failover", chosen.logs, lambda sandbox: drill(sandbox, chosen))


if __name__ == "__main__":
    sys.exit(main())
