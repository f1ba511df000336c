DROP TABLE payments, reservations, inventory, sla_figures, order_events, orders;
DROP FUNCTION inventory_opening_stock();
