#!/usr/bin/env python3
"""Destroys the database and its disk under load, and restores it from its backups: first to the end
of the archive, as after a real disaster, then to a chosen moment, from the other repository.

WAL is archived continuously to two encrypted repositories. A full and a differential backup are
made under load.

Measures how many seconds of acknowledged orders the disaster loses, and how long it takes until
orders are acknowledged again. Runs `valerix audit` after both restores. Everything that the drill
starts or writes is removed at the end. Exit code 1 if the drill fails.
"""

import argparse
import secrets
import sys
import time
from pathlib import Path

from kit.order_check import STORED_ORDERS_QUERY, StoredOrders
from kit.orders import OrderLoad, count_by_status, deliver_all
from kit.sandbox import DrillFailed, run_drill, wait_for
from kit.server import REPOSITORIES, Backups, Server
from kit.services import Services, url

# Load after each backup, and after the restore.
LOAD_SECONDS = 5
# Time to archive a segment after archive_timeout, on a busy machine.
ARCHIVE_MARGIN_SECONDS = 10
ACKNOWLEDGEMENT_TIMEOUT_SECONDS = 60
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
        "--seconds",
        type=float,
        default=40,
        help="load between the last backup and the disaster [%(default)s]",
    )
    parser.add_argument("--logs", help="copy all logs to this directory")
    chosen = parser.parse_args()
    if not Path(chosen.program).is_file():
        parser.error(f"{chosen.program} does not exist: build it, or set --program")
    if chosen.rate <= 0 or chosen.seconds <= 0:
        parser.error("--rate and --seconds must be greater than 0")
    return chosen


def megabytes(size):
    return f"{size / 1e6:.1f} MB"


class Drill:
    def __init__(self, sandbox, chosen):
        self.sandbox = sandbox
        self.chosen = chosen
        self.backups = Backups(sandbox)
        self.superuser_password = secrets.token_urlsafe(18)
        self.password = secrets.token_urlsafe(18)
        self.original = self.server("original")
        self.services = Services(sandbox, Path(chosen.program))

    def server(self, name):
        return Server(self.sandbox, name, self.backups, self.superuser_password)

    def url(self, server):
        return url("valerix", self.password, [f"127.0.0.1:{server.port}"], "valerix")

    def run(self):
        self.set_up()
        print(f"{self.chosen.rate:g} orders/s; backups under this load:", flush=True)
        with OrderLoad(self.services.order_port, self.chosen.rate) as load:
            self.back_up()
            time.sleep(self.chosen.seconds / 2)
            # A whole second, so that rounding cannot change the target of the restore.
            moment = float(int(time.time()))
            time.sleep(self.chosen.seconds / 2)
            orders = list(load.orders)
            self.recover_from_disaster(load)
        print(f"{len(load.orders)} orders in total: {count_by_status(load.orders)}\n")
        self.services.stop()
        self.restore_to(moment, orders)

    def set_up(self):
        print("starting PostgreSQL and the services …", flush=True)
        self.original.create()
        self.original.start()
        self.original.wait_until_writable()
        self.original.query(f"CREATE ROLE valerix LOGIN PASSWORD '{self.password}'", "postgres")
        self.original.query("CREATE DATABASE valerix OWNER valerix", "postgres")
        self.backups.run(self.original, "stanza-create")
        self.backups.run(self.original, "check")
        self.services.start(self.url(self.original))
        self.services.wait_until_ready()
        self.original.query(deliver_all(EXTRA_STOCK))

    def back_up(self):
        for kind in ("full", "diff"):
            for number in REPOSITORIES:
                seconds = self.backups.back_up(self.original, number, kind)
                print(f"  {kind} backup to repository {number}: {seconds:.1f} s", flush=True)
                if files := self.backups.unencrypted_files(number):
                    raise DrillFailed(f"{files[0].name} in repository {number} is not encrypted")
            time.sleep(LOAD_SECONDS)

    def recover_from_disaster(self, load):
        size = int(self.original.value("SELECT pg_database_size('valerix')"))
        archive_timeout = int(
            self.original.value("SELECT setting FROM pg_settings WHERE name = 'archive_timeout'")
        )
        lost_at = time.time()
        self.original.destroy()
        print(
            f"the database is destroyed ({megabytes(size)}; archive_timeout {archive_timeout} s)",
            flush=True,
        )
        restored = self.server("restored")
        restored.restore("--repo=1")
        copied_at = time.time()
        restored.start()
        self.services.stop()
        restored.wait_until_writable()
        replayed_at = time.time()
        stored = StoredOrders(restored.query(STORED_ORDERS_QUERY))
        self.services.start(self.url(restored))
        recovered_at = wait_for(
            "an order to be acknowledged after the disaster",
            lambda: load.first_acknowledged_after(replayed_at),
            ACKNOWLEDGEMENT_TIMEOUT_SECONDS,
        )
        print(
            f"  recovery time: {recovered_at - lost_at:.1f} s until orders were acknowledged again "
            f"(copying files {copied_at - lost_at:.1f} s, replaying WAL "
            f"{replayed_at - copied_at:.1f} s, services {recovered_at - replayed_at:.1f} s)"
        )
        sent_before = [order for order in load.orders if order.sent_at < lost_at]
        self.check_recovery_point(stored, sent_before, lost_at, archive_timeout)
        for number in REPOSITORIES:
            print(f"  repository {number}: {megabytes(self.backups.size(number))}")
        time.sleep(LOAD_SECONDS)
        load.stop()
        self.services.wait_until_settled()
        # Orders acknowledged between these two times do not count: their last changes may be lost.
        newest = stored.newest_created_at()
        comparable = [
            order
            for order in load.orders
            if order.responded_at and not newest < order.responded_at < replayed_at
        ]
        StoredOrders(restored.query(STORED_ORDERS_QUERY)).check(comparable)
        print(self.services.audit(self.url(restored)), end="\n\n", flush=True)

    def check_recovery_point(self, stored, orders, lost_at, archive_timeout):
        """Only the orders that were acknowledged last may be lost, and for a bounded time."""
        missing = stored.missing(orders)
        acknowledged = [order for order in orders if order.acknowledged]
        kept = [order.responded_at for order in acknowledged if order.id in stored.by_id]
        first_lost = min((order.responded_at for order in missing), default=lost_at)
        print(
            f"  recovery point: {lost_at - first_lost:.1f} s of orders are lost, "
            f"{len(missing)} of {len(acknowledged)} acknowledged; the newest stored order was "
            f"acknowledged {lost_at - max(kept):.1f} s before the disaster"
        )
        if first_lost < stored.newest_created_at():
            raise DrillFailed("an order is lost that was acknowledged before a stored one")
        max_loss = archive_timeout + ARCHIVE_MARGIN_SECONDS
        if lost_at - first_lost > max_loss:
            raise DrillFailed(f"more than {max_loss} s of orders are lost")

    def restore_to(self, moment, orders):
        """Restores another server to a moment, from the second repository.

        This server does not archive, so that its WAL stays out of the repositories.
        """
        target = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(moment))
        print(f"restoring to {target} from repository 2", flush=True)
        start = time.time()
        past = self.server("past")
        past.restore(
            "--repo=2",
            "--type=time",
            f"--target={target}",
            "--target-action=promote",
            "--archive-mode=off",
        )
        past.start()
        past.wait_until_writable()
        stored = StoredOrders(past.query(STORED_ORDERS_QUERY))
        before = [order for order in orders if order.acknowledged and order.responded_at <= moment]
        after = [order for order in orders if order.sent_at > moment and order.id in stored.by_id]
        missing = stored.missing(before)
        print(
            f"  restored in {time.time() - start:.1f} s: {len(missing)} of {len(before)} orders "
            f"acknowledged before it are missing, {len(after)} sent after it are stored"
        )
        if missing:
            raise DrillFailed(f"order {missing[0].id} was acknowledged before it but is missing")
        if after:
            raise DrillFailed(f"order {after[0].id} was sent after it but is stored")
        self.services.start(self.url(past))
        self.services.wait_until_ready()
        self.services.wait_until_settled()
        StoredOrders(past.query(STORED_ORDERS_QUERY)).check(before)
        print(self.services.audit(self.url(past)))
        self.services.stop()


def main():
    chosen = arguments()
    return run_drill("restore", chosen.logs, lambda sandbox: Drill(sandbox, chosen).run())


if __name__ == "__main__":
    sys.exit(main())
