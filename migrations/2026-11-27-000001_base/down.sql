DROP TABLE payments, forgotten_shipments, reservations, inventory, deliveries, sla_reports,
    forgotten_events, leaving_orders, order_events;
DROP VIEW unsettled_orders;
DROP TABLE orders;
DROP FUNCTION inventory_opening_stock(), inventory_opening_delivery();
DROP DOMAIN order_status, reservation_state, payment_status, non_empty_id, fencing_epoch,
    positive_amount, order_quantity, held_quantity, stock_units, delivered_units,
    forgotten_units, only_row;
