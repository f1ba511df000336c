"""Compares the answers that callers got with the orders, stock and payments in the database."""


def find_faults(system, answers, stocked):
    """Returns how often each fault occurs."""
    status = dict(system.query("SELECT id, status FROM orders"))
    confirmed = {order for order, value in status.items() if value == "CONFIRMED"}
    failed = {order for order, value in status.items() if value == "FAILED"}
    charges = system.query(
        "SELECT order_id, count(*) FROM payments WHERE status = 'SUCCESS' GROUP BY 1"
    )
    charged = {order for order, _ in charges}
    accepted = [answer for answer in answers if answer.accepted]
    return {
        "stuck": len(status) - len(confirmed) - len(failed),
        "lost": sum(answer.order_id not in status for answer in accepted),
        "charged twice": sum(int(count) > 1 for _, count in charges),
        "answered wrongly": _wrong_answers(answers, status),
        "confirmed without a charge": len(confirmed - charged),
        "failed with a charge": len(failed & charged),
        "products with wrong stock": _wrong_stock(system, stocked),
    }


def _wrong_answers(answers, status):
    """Counts the answers that name a final status which is not the stored one."""
    final = {200: "CONFIRMED", 201: "CONFIRMED", 402: "FAILED", 409: "FAILED", 422: "FAILED"}
    return sum(
        answer.status in final
        and answer.order_id in status
        and status[answer.order_id] != final[answer.status]
        for answer in answers
    )


def _wrong_stock(system, stocked):
    """Counts the products that hold another quantity than their confirmed orders.

    A product is also wrong if its stock and what it holds are not what was stocked.
    """
    sold = {
        product: int(units)
        for product, units in system.query(
            "SELECT product_id, sum(quantity) FROM orders WHERE status = 'CONFIRMED' GROUP BY 1"
        )
    }
    wrong = 0
    for product, stock, reserved in system.query(
        "SELECT product_id, stock, reserved FROM inventory"
    ):
        if product in stocked:
            total = int(stock) + int(reserved)
            wrong += total != stocked[product] or int(reserved) != sold.get(product, 0)
    return wrong
