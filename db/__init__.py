"""The store: tables, migrations, queries by meaning. Knows nothing of models or screens."""
