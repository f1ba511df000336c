"""Compares the responses that clients received with the orders in the database."""

from .sandbox import DrillFailed

# A response with one of these codes reports a final status.
FINAL_STATUS = {201: "CONFIRMED", 402: "FAILED", 409: "FAILED", 422: "FAILED"}

STORED_ORDERS_QUERY = """
    SELECT id, status, extract(epoch FROM created_at),
           status IN ('CONFIRMED', 'FAILED') AND release_owed_epoch IS NULL AND NOT refund_owed
    FROM orders"""


class StoredOrders:
    """Status, creation time and settledness of each order in a database, by id."""

    def __init__(self, rows):
        self.by_id = {row[0]: (row[1], float(row[2]), row[3] == "t") for row in rows}

    def missing(self, orders):
        """Returns the acknowledged orders that the database does not contain."""
        return [order for order in orders if order.acknowledged and order.id not in self.by_id]

    def newest_created_at(self):
        """Every order that committed before this time is stored."""
        return max(created_at for _, created_at, _ in self.by_id.values())

    def check(self, orders):
        """Fails unless every stored order is settled, and has the status that its client got."""
        unsettled = [id for id, (_, _, settled) in self.by_id.items() if not settled]
        if unsettled:
            example = unsettled[0]
            raise DrillFailed(f"{len(unsettled)} orders are not settled, for example {example}")
        for order in orders:
            expected, stored = FINAL_STATUS.get(order.status), self.by_id.get(order.id)
            if expected and stored and stored[0] != expected:
                raise DrillFailed(
                    f"the response for order {order.id} was {order.status}, "
                    f"but its stored status is {stored[0]}"
                )
