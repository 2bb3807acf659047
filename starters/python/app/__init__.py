"""A document service: it embeds texts, stores them, and finds the nearest ones."""
