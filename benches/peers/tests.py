#!/usr/bin/env python3
"""Tests of the comparison itself. They need neither a database nor the systems."""

import random
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "drills"))

from bench.caller import Answer
from bench.docs import BEGIN, END, update_docs
from bench.kills import KillReport, choose_roles
from bench.order_check import find_faults
from bench.report import full_report, short
from bench.rounds import Figures, check_agreement
from kit.sandbox import DrillFailed


class StoredOrders:
    """A system whose database contains these rows."""

    name = "stored"

    def __init__(self, orders, charges, inventory, sold):
        self.answers = {
            "SELECT id, status FROM orders": orders,
            "FROM payments": charges,
            "FROM inventory": inventory,
            "sum(quantity)": sold,
        }

    def query(self, statement):
        return next(rows for part, rows in self.answers.items() if part in statement)


def faults_of(system, answers=()):
    found = find_faults(system, answers, {"P": 10})
    return {name: count for name, count in found.items() if count}


class OrderCheck(unittest.TestCase):
    def test_orders_that_agree_have_no_fault(self):
        system = StoredOrders(
            [["a", "CONFIRMED"], ["b", "FAILED"]], [["a", "1"]], [["P", "9", "1"]], [["P", "1"]]
        )
        answers = [Answer(201, "a"), Answer(402, "b"), Answer()]
        self.assertEqual(faults_of(system, answers), {})

    def test_a_pending_order_is_stuck_and_its_stock_is_wrong(self):
        system = StoredOrders([["a", "PENDING"]], [], [["P", "9", "1"]], [])
        expected = {"stuck": 1, "products with wrong stock": 1}
        self.assertEqual(faults_of(system, [Answer(202, "a")]), expected)

    def test_an_accepted_order_that_is_not_stored_is_lost(self):
        system = StoredOrders([], [], [["P", "10", "0"]], [])
        self.assertEqual(faults_of(system, [Answer(201, "a")]), {"lost": 1})

    def test_charges_are_counted_and_compared_with_the_status(self):
        system = StoredOrders(
            [["a", "CONFIRMED"], ["b", "FAILED"], ["c", "CONFIRMED"]],
            [["a", "2"], ["b", "1"]],
            [["P", "8", "2"]],
            [["P", "2"]],
        )
        expected = {"charged twice": 1, "failed with a charge": 1, "confirmed without a charge": 1}
        self.assertEqual(faults_of(system), expected)

    def test_an_answer_that_contradicts_the_stored_status_is_wrong(self):
        system = StoredOrders([["a", "FAILED"]], [], [["P", "10", "0"]], [])
        self.assertEqual(faults_of(system, [Answer(201, "a")]), {"answered wrongly": 1})


class Agreement(unittest.TestCase):
    def check(self, *counts):
        row = [str(count) for count in counts]
        check_agreement(SimpleNamespace(name="counted", query=lambda _: [row]))

    def test_a_run_counts_only_if_orders_stock_and_payments_agree(self):
        self.check(5, 5, 5, 5)
        for counts in [(6, 5, 5, 5), (5, 5, 4, 5), (5, 5, 5, 6)]:
            with self.assertRaisesRegex(DrillFailed, "counted"):
                self.check(*counts)


class Kills(unittest.TestCase):
    def test_each_process_is_killed_equally_often(self):
        for seed in range(20):
            roles = choose_roles(("a", "b", "c"), random.Random(seed), 10)
            self.assertEqual(sorted(Counter(roles).values()), [3, 3, 4])


class Documents(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)

    def test_the_tables_replace_only_what_is_between_the_marks(self):
        page = self.root / "page.md"
        page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
        for _ in range(2):
            update_docs(self.root, {"page.md": "new"})
            expected = f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
            self.assertEqual(page.read_text(encoding="utf-8"), expected)

    def test_a_document_without_marks_is_rejected(self):
        (self.root / "page.md").write_text("before\n", encoding="utf-8")
        with self.assertRaisesRegex(DrillFailed, "page.md"):
            update_docs(self.root, {"page.md": "new"})


class Report(unittest.TestCase):
    def test_the_tables_show_medians_and_what_was_not_measured(self):
        def turn(rate):
            return Figures(rate, None, None, 0, 0.25, 0.5, 0.01), Figures(9, 2, 4, 1, 1, 2, 0.03)

        results = {"pgbench": [turn(100), turn(300), turn(200)]}
        faults = {"stuck": 3}
        reports = {"go": KillReport([Answer(201, "a"), Answer()], Counter(app=2), None, faults)}
        chosen = SimpleNamespace(rounds=3, seconds=8, orders=2, kills=2, rate=30, seed=1)
        text = full_report(chosen, ["version"], results, reports)
        for part in ["200 (100..300)", "0.75", "never", "- go: app 2", "without a success: 3"]:
            self.assertIn(part, text)
        self.assertIn("–", short(results, reports))
        self.assertTrue(all(len(line) <= 100 for line in text.splitlines()), text)


if __name__ == "__main__":
    unittest.main()
