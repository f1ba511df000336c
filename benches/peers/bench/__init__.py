"""The parts of the comparison besides the systems: PostgreSQL, load, figures, kills, tables."""
