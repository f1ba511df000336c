"""What the comparison needs besides the systems: PostgreSQL, load, figures, kills, tables."""
