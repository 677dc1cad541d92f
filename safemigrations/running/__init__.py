"""How plans are carried out: locks, index builds, proofs, backfills."""
