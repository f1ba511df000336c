DROP TABLE payments, reservations, inventory, deliveries, sla_reports, order_events;
DROP VIEW unsettled_orders;
DROP TABLE orders;
DROP FUNCTION inventory_opening_stock(), inventory_opening_delivery();
