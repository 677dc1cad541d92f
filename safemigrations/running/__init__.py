"""How plans are carried out: locks, index builds, proofs, backfills. Nothing here decides about models."""
