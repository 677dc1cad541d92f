"""Who does it: locks, index builds, proofs, backfills. Decides nothing about models."""
