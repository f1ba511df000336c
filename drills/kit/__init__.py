"""What the drills share: a sandbox, PostgreSQL, the services, a load of orders, and the check."""
