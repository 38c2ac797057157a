"""Trained models: their files, their predictions, explanations, and exports."""
