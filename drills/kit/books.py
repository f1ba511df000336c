"""What customers were told, beside what the database holds."""

from .place import DrillFailed

# An answer that names a status names one that stays.
FINAL = {201: "CONFIRMED", 402: "FAILED", 409: "FAILED", 422: "FAILED"}

STATEMENT = """
    SELECT id, status, extract(epoch FROM created_at),
           status IN ('CONFIRMED', 'FAILED') AND release_due IS NULL AND NOT void_due
    FROM orders"""


class Books:
    """The orders of a database by id."""

    def __init__(self, rows):
        self.rows = {row[0]: (row[1], float(row[2]), row[3] == "t") for row in rows}

    def missing(self, orders):
        """Of these, those that were acknowledged and are not there."""
        return [order for order in orders if order.acknowledged and order.id not in self.rows]

    def newest(self):
        """When the newest order was created: all that was committed before is in these books."""
        return max(created for _, created, _ in self.rows.values())

    def check(self, orders):
        """Every order has ended, and as its customer was told."""
        unfinished = [id for id, (_, _, settled) in self.rows.items() if not settled]
        if unfinished:
            raise DrillFailed(f"{len(unfinished)} orders did not reach an end, {unfinished[0]} for one")
        for order in orders:
            told, held = FINAL.get(order.status), self.rows.get(order.id)
            if told and held and held[0] != told:
                raise DrillFailed(f"order {order.id} was answered with {order.status} and is {held[0]}")
