"""Stores on databases of SQL: what they have in common, and each one's dialect.

All but a dialect's own words is written once, against `dialect`.

    store              the store, whatever its dialect: `reading` and `writing` are what it does
    state              what a write makes of what is stored, without a database
    tables             the tables, and what of a document stands in them
    indexing           what documents are found by: kept by writers, made beside them
    copying            what goes over when a store is moved
    selecting          filters as SQL; `matching` decides the rest of them
    postgres           PostgreSQL; `postgres_watch` ends connections whose server says nothing
"""
