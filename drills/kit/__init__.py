"""What the drills share: a place with processes of its own, PostgreSQL, the services, orders and the verdict."""
