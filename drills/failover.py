#!/usr/bin/env python3
"""The primary's machine is lost while orders come in, several times over: three nodes with Patroni and etcd, synchronous
replication, and the three services with all three nodes in their DATABASE_URL.

Shown: how long it takes until orders are acknowledged again, and that none that was acknowledged is lost. Nothing is left
behind. Ends with 1 when something is not as it should be.
"""

import argparse
import sys
import time
from pathlib import Path

from kit.books import STATEMENT, Books
from kit.cluster import Cluster, PromotionWatch
from kit.orders import Customers, by_answer
from kit.place import DrillFailed, outcome, wait_for
from kit.services import Services, url

# Seconds.
GOAL = 10
PROMOTION_LIMIT = 90
BEFORE = 5
AFTER = 5
STOCK = 1_000_000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/valerix", help="the valerix to run [%(default)s]")
    parser.add_argument("--rate", type=float, default=50, help="orders per second [%(default)s]")
    parser.add_argument(
        "--losses",
        default="kill,freeze,kill",
        help="how the primary is lost, one time after the other: kill (its power fails) or freeze (it hangs, and comes "
        "back once another leads) [%(default)s]",
    )
    parser.add_argument("--logs", help="keep all logs in this directory")
    chosen = parser.parse_args()
    chosen.losses = chosen.losses.split(",")
    if unknown := set(chosen.losses) - {"kill", "freeze"}:
        parser.error(f"--losses takes kill and freeze, not {', '.join(unknown)}")
    if not Path(chosen.program).is_file():
        parser.error(f"there is no program {chosen.program}: build it, or name it with --program")
    if chosen.rate <= 0:
        parser.error("--rate must be more than 0")
    return chosen


def lose(cluster, customers, how):
    """Loses the primary once and waits until all is as before; gives what was measured, in seconds."""
    primary = cluster.whole()
    standbys = [node for node in cluster.nodes if node is not primary]
    time.sleep(BEFORE)
    watch = PromotionWatch(standbys)
    lost = time.time()
    primary.kill() if how == "kill" else primary.freeze()
    gone = time.time()
    successor, promoted, locked = watch.wait(PROMOTION_LIMIT)
    again = wait_for(
        "an order to be acknowledged after the promotion",
        lambda: customers.first_acknowledged_after(gone),
        60,
    )
    print(f"{how:>8}  {primary.name} → {successor.name}: promoted after {promoted - lost:.1f} s,", end=" ")
    print(f"{locked - lost:.1f} s by Patroni; orders again {again - promoted:.1f} s later", flush=True)
    time.sleep(AFTER)
    primary.start() if how == "kill" else primary.thaw()
    cluster.whole(limit=120)
    return lost, promoted, again


def report(customers, losses):
    print(f"\n{len(customers.orders)} orders: {by_answer(customers.orders)}")
    for number, (lost, promoted, again) in enumerate(losses, 1):
        meanwhile = customers.between(lost, again)
        print(f"  loss {number}: {again - lost:.1f} s without a primary to write to; ordered meanwhile "
              f"{len(meanwhile)}: {by_answer(meanwhile)}")
    late = max(again - promoted for _, promoted, again in losses)
    print(f"  from promotion to the first acknowledged order: {late:.1f} s at most (goal {GOAL} s)")
    return late


def drill(here, chosen):
    print("starting three nodes …", flush=True)
    cluster = Cluster(here)
    cluster.start()
    services = Services(here, Path(chosen.program))
    database = url("valerix", cluster.password, cluster.hosts(), "valerix", "&target_session_attrs=read-write")
    services.start(database)
    services.ready()
    cluster.query(cluster.whole(), f"UPDATE inventory SET stock = stock + {STOCK}, stocked = stocked + {STOCK}")
    print(f"{chosen.rate:g} orders a second; the primary is lost {len(chosen.losses)} times", flush=True)
    with Customers(services.order_port, chosen.rate) as customers:
        losses = [lose(cluster, customers, how) for how in chosen.losses]
    late = report(customers, losses)
    services.settle()
    books = Books(cluster.query(cluster.whole(), STATEMENT))
    acknowledged = [order for order in customers.orders if order.acknowledged]
    print(f"  acknowledged orders: {len(acknowledged)}, lost: {len(books.missing(acknowledged))}\n")
    print(services.audit(database))
    if missing := books.missing(acknowledged):
        raise DrillFailed(f"{len(missing)} acknowledged orders are lost, {missing[0].id} for one")
    books.check(customers.orders)
    if late > GOAL:
        raise DrillFailed(f"orders were acknowledged only {late:.1f} s after the promotion")
    services.stop()


def main():
    chosen = arguments()
    return outcome("failover", chosen.logs, lambda here: drill(here, chosen))


if __name__ == "__main__":
    sys.exit(main())
