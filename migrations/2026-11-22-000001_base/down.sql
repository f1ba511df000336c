DROP TABLE payments, reservations, inventory, order_events, orders;
DROP FUNCTION inventory_opening_stock();
