"""What is written to disk: estimators and checkpoints, without pickle."""
