#!/usr/bin/env python3
"""The database is lost with its disk while orders come in, and restored from its backups: first to the end of what was
archived, as after a real disaster, then to a chosen moment, from the other repository.

WAL is archived continuously to two encrypted repositories, and a full and a differential backup are made under load.
Shown: how many seconds of acknowledged orders a disaster costs, how long it takes until orders are acknowledged again,
and that the books balance after both. Nothing is left behind. Ends with 1 when something is not as it should be.
"""

import argparse
import secrets
import sys
import time
from pathlib import Path

from kit.books import STATEMENT, Books
from kit.orders import Customers, by_answer
from kit.place import DrillFailed, outcome, wait_for
from kit.server import REPOSITORIES, Archive, Server
from kit.services import Services, url

# Seconds.
BETWEEN = 5
# For a segment to be handed over once its time is up, on a busy machine.
PUSH_MARGIN = 10
STOCK = 1_000_000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/valerix", help="the valerix to run [%(default)s]")
    parser.add_argument("--rate", type=float, default=50, help="orders per second [%(default)s]")
    parser.add_argument(
        "--seconds", type=float, default=40, help="of orders after the last backup, until the disaster [%(default)s]"
    )
    parser.add_argument("--logs", help="keep all logs in this directory")
    chosen = parser.parse_args()
    if not Path(chosen.program).is_file():
        parser.error(f"there is no program {chosen.program}: build it, or name it with --program")
    if chosen.rate <= 0 or chosen.seconds <= 0:
        parser.error("--rate and --seconds must be more than 0")
    return chosen


def megabytes(size):
    return f"{size / 1e6:.1f} MB"


class Drill:
    def __init__(self, here, chosen):
        self.here = here
        self.chosen = chosen
        self.archive = Archive(here)
        self.superuser_password = secrets.token_urlsafe(18)
        self.password = secrets.token_urlsafe(18)
        self.original = self.server("original")
        self.services = Services(here, Path(chosen.program))

    def server(self, name):
        return Server(self.here, name, self.archive, self.superuser_password)

    def url(self, server):
        return url("valerix", self.password, [f"127.0.0.1:{server.port}"], "valerix")

    def run(self):
        self.set_up()
        print(f"{self.chosen.rate:g} orders a second; backups meanwhile", flush=True)
        with Customers(self.services.order_port, self.chosen.rate) as customers:
            self.back_up()
            time.sleep(self.chosen.seconds / 2)
            # A whole second, for which there is no doubt about rounding.
            moment = float(int(time.time()))
            time.sleep(self.chosen.seconds / 2)
            orders = list(customers.orders)
            self.disaster(customers)
        print(f"{len(customers.orders)} orders in all: {by_answer(customers.orders)}\n")
        self.services.stop()
        self.back_to(moment, orders)

    def set_up(self):
        print("starting PostgreSQL and the services …", flush=True)
        self.original.create()
        self.original.start()
        self.original.ready()
        self.original.query(f"CREATE ROLE valerix LOGIN PASSWORD '{self.password}'", "postgres")
        self.original.query("CREATE DATABASE valerix OWNER valerix", "postgres")
        self.archive.run(self.original, "stanza-create")
        self.archive.run(self.original, "check")
        self.services.start(self.url(self.original))
        self.services.ready()
        self.original.query(f"UPDATE inventory SET stock = stock + {STOCK}, stocked = stocked + {STOCK}")

    def back_up(self):
        for kind in ("full", "diff"):
            for number in REPOSITORIES:
                took = self.archive.backup(self.original, number, kind)
                print(f"  {kind} backup to repository {number}: {took:.1f} s", flush=True)
                if readable := self.archive.readable(number):
                    raise DrillFailed(f"{readable[0].name} in repository {number} is not encrypted")
            time.sleep(BETWEEN)

    def disaster(self, customers):
        size = int(self.original.value("SELECT pg_database_size('valerix')"))
        timeout = int(self.original.value("SELECT setting FROM pg_settings WHERE name = 'archive_timeout'"))
        lost = time.time()
        self.original.destroy()
        print(f"the database is destroyed ({megabytes(size)}; archive_timeout {timeout} s)", flush=True)
        restored = self.server("restored")
        restored.restore("--repo=1")
        copied = time.time()
        restored.start()
        self.services.stop()
        restored.ready()
        played = time.time()
        books = Books(restored.query(STATEMENT))
        self.services.start(self.url(restored))
        again = wait_for(
            "an order to be acknowledged after the disaster",
            lambda: customers.first_acknowledged_after(played),
            60,
        )
        print(f"  recovery time: {again - lost:.1f} s until orders were acknowledged again "
              f"(files {copied - lost:.1f} s, playing back {played - copied:.1f} s, services {again - played:.1f} s)")
        self.recovery_point(books, [order for order in customers.orders if order.sent < lost], lost, timeout)
        for number in REPOSITORIES:
            print(f"  repository {number}: {megabytes(self.archive.size(number))}")
        time.sleep(BETWEEN)
        customers.stop()
        self.services.settle()
        told = [order for order in customers.orders if order.answered and not books.newest() < order.answered < played]
        Books(restored.query(STATEMENT)).check(told)
        print(self.services.audit(self.url(restored)), end="\n\n", flush=True)

    def recovery_point(self, books, orders, lost, timeout):
        """What was acknowledged last may be lost, and nothing before it."""
        missing = books.missing(orders)
        answered = [order for order in orders if order.acknowledged]
        newest = max(order.answered for order in answered if order.id in books.rows)
        first = min((order.answered for order in missing), default=lost)
        print(f"  recovery point: {lost - first:.1f} s of orders, {len(missing)} of {len(answered)} acknowledged, are lost; "
              f"the newest that is kept was acknowledged {lost - newest:.1f} s before")
        if first < books.newest():
            raise DrillFailed("an order is lost that was acknowledged before others that are kept")
        if lost - first > timeout + PUSH_MARGIN:
            raise DrillFailed(f"more than {timeout + PUSH_MARGIN} s of orders are lost")

    def back_to(self, moment, orders):
        """Elsewhere, from the far copy; this one keeps its own WAL out of the repositories."""
        at = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(moment))
        print(f"back to {at}, from repository 2", flush=True)
        begin = time.time()
        past = self.server("past")
        past.restore("--repo=2", "--type=time", f"--target={at}", "--target-action=promote", "--archive-mode=off")
        past.start()
        past.ready()
        books = Books(past.query(STATEMENT))
        before = [order for order in orders if order.acknowledged and order.answered <= moment]
        after = [order for order in orders if order.sent > moment and order.id in books.rows]
        print(f"  restored in {time.time() - begin:.1f} s: of {len(before)} orders acknowledged before it "
              f"{len(books.missing(before))} are missing, of those sent after it {len(after)} are there")
        if missing := books.missing(before):
            raise DrillFailed(f"order {missing[0].id} was acknowledged before the moment and is not there")
        if after:
            raise DrillFailed(f"order {after[0].id} was sent after the moment and is there")
        self.services.start(self.url(past))
        self.services.ready()
        self.services.settle()
        Books(past.query(STATEMENT)).check(before)
        print(self.services.audit(self.url(past)))
        self.services.stop()


def main():
    chosen = arguments()
    return outcome("restore", chosen.logs, lambda here: Drill(here, chosen).run())


if __name__ == "__main__":
    sys.exit(main())
