"""Monitoring events. Spec: control-and-events#2."""
