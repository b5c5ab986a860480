"""Pretrained and fine-tuned models in memory, and the card that describes one."""
