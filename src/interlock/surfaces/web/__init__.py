"""The dashboard: pages made on the server from the same use-cases; everything in them is escaped and made visible."""
